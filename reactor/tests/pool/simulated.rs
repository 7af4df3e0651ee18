//! Pools of simulated hosts.
