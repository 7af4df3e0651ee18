//! Messages of the kernel about the network: views of all lengths, messages that try to do harm, and a follower
//! that ends in the state of a kernel that loses messages.

mod bridges;
mod hops;
mod kernel;
mod lossy;
mod views;
