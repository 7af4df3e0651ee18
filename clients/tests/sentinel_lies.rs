//! Sentinels that lie or are dead, beside real ones: clients that are given one of them and two real
//! ones follow the master as if there were three.

mod common;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;

use common::Server;
use common::followers::{Followers, addresses, place};
use common::liar::{Liar, Manner};
use reactor::BackendKind;
use testkit::cluster::{Cluster, MASTER_NAME, Site, ask};

/// An epoch that no failover reaches.
const FUTURE: u64 = 999_999;

/// A server that is said to be the master and is not.
fn port_of(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("it has a port")
}

fn local(port: u16) -> Option<(String, u16)> {
    Some(("127.0.0.1".to_owned(), port))
}

/// A liar that names a server as the master, and publishes in several ways that it is.
fn publisher(cluster: &Cluster, port: u16, id: &str) -> Liar {
    let old = cluster.master.address;
    let (host, old_port) = (old.ip(), old.port());
    let about = format!("127.0.0.1:{port} 127.0.0.1 {port} @ {MASTER_NAME} {host} {old_port}");
    let hello = format!("127.0.0.1,26379,{id},{FUTURE},{MASTER_NAME},127.0.0.1,{port},{FUTURE}");
    let messages = [
        ("+switch-master", format!("{MASTER_NAME} {host} {old_port} 127.0.0.1 {port}")),
        ("+vote-for-leader", format!("{id} {FUTURE}")),
        ("+failover-state-wait-promotion", format!("slave {about}")),
        ("__sentinel__:hello", hello),
        ("+switch-master", "\u{fffd}".to_owned()),
    ];
    let published = messages.map(|(channel, text)| (channel.to_owned(), text)).to_vec();
    Liar { lie: local(port), epoch: FUTURE, id: id.to_owned(), published, ..Liar::default() }
}

fn id_of(sentinel: SocketAddr) -> String {
    ask(sentinel, &["SENTINEL", "MYID"]).trim().to_owned()
}

/// Runs one follower for each of these, which take the place of one of three sentinels, while the
/// master is killed.
fn do_no_harm(cluster: &mut Cluster, others: &[String]) {
    let real = addresses(cluster);
    let mut followers = Followers::on(&[BackendKind::Epoll]);
    for other in others {
        // The wrong one comes first.
        followers.add(&[other.clone(), real[0].clone(), real[1].clone()]);
    }
    followers.survive(cluster, |it| it.master.kill(), |_| {});
    // The sentinels and the followers learn of the end of a failover one after the other.
    testkit::wait_until("all followers agree with a sentinel", || {
        let master = cluster.master_of(0).map(place);
        master.is_some() && followers.all().all(|it| it.found.master() == master)
    });
}

#[test]
fn one_lying_sentinel_of_three_does_no_harm() {
    let Some(mut cluster) = Cluster::start(2, 3, Site::LOCAL, Site::LOCAL) else { return };
    // A program that says it is a master.
    let rogue = Liar::default();
    let server = Server::start_liar(rogue.clone());
    let port = port_of(&server.address);
    let replica = cluster.replicas[0].address.port();
    // A master with another data set: it says that it is one, and is.
    let Some(mut stranger) = Cluster::start(0, 0, Site::LOCAL, Site::LOCAL) else { return };
    let stranger_port = stranger.master.address.port();
    let real_id = id_of(cluster.sentinels[0].address);
    let liars = [
        // It names a server that is none of the group.
        Liar { lie: local(port), epoch: FUTURE, ..Liar::default() },
        publisher(&cluster, port, "liar"),
        publisher(&cluster, port, &real_id),
        // It names a replica, whose ROLE is that of a replica.
        publisher(&cluster, replica, "liar"),
        publisher(&cluster, replica, &real_id),
        publisher(&cluster, stranger_port, "liar"),
        // It knows the master of the past, and no other.
        Liar { lie: local(cluster.master.address.port()), ..Liar::default() },
    ];
    let servers: Vec<_> = liars.iter().map(|it| Server::start_liar(it.clone())).collect();
    let others: Vec<String> = servers.iter().map(|it| it.address.clone()).collect();
    do_no_harm(&mut cluster, &others);
    for liar in &liars {
        assert!(liar.asked.load(Ordering::SeqCst) > 3, "it was asked");
        let published = liar.told.load(Ordering::SeqCst);
        assert!(liar.published.is_empty() || published > 3, "it has published its lies");
    }
    assert_eq!(rogue.commands.load(Ordering::SeqCst), 0, "its server was sent nothing");
    assert_eq!(ask(stranger.master.address, &["DBSIZE"]), "0\n", "nothing was written there");
    stranger.master.kill();
}

#[test]
fn one_dead_sentinel_of_three_does_no_harm() {
    let Some(mut cluster) = Cluster::start(2, 3, Site::LOCAL, Site::LOCAL) else { return };
    let start = |manner| {
        let lie = local(cluster.master.address.port());
        Server::start_liar(Liar { lie, manner, ..Liar::default() })
    };
    let servers = [Manner::Silent, Manner::Garbage, Manner::ByteByByte, Manner::Plain].map(start);
    let mut others: Vec<String> = servers.iter().map(|it| it.address.clone()).collect();
    // One that listens, and whose program does not run: the kernel takes the connection.
    let stuck = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    others.push(stuck.local_addr().expect("it has an address").to_string());
    let ignorant = Server::start_liar(Liar::default());
    others.extend([ignorant.address.clone(), testkit::refusing_address().to_string()]);
    do_no_harm(&mut cluster, &others);
}
