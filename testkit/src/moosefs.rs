//! The real programs of MooseFS, for tests in a network namespace of their own ([`in_namespace`](crate::in_namespace)).
//!
//! They refuse addresses of 127.0.0.0/8 for one another, so the network has one more address.
//! All of them run in the foreground as children, and are killed on drop.
//!
//! No wait for FUSE ends with a limit of time: a process that waits for a mount cannot be killed. So a
//! [`Mount`] is detached on drop, and a test ends a wait by ending the servers.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::{Folder, process, tell, wait_until};

/// The shell script that sets the network up, for [`in_namespace`](crate::in_namespace).
pub const NETWORK: &str = "ip link set lo up\nip addr add 10.99.0.1/32 dev lo";
/// The address of that network that the programs accept.
pub const HOST: &str = "10.99.0.1";

/// A real program that runs. It is killed on drop.
#[derive(Debug)]
pub struct Daemon {
    child: Option<Child>,
    program: &'static str,
    arguments: Vec<String>,
    log: PathBuf,
}

impl Daemon {
    fn start(program: &'static str, arguments: &[&str], log: PathBuf) -> Self {
        let arguments = arguments.iter().map(|it| (*it).to_owned()).collect();
        let mut daemon = Self { child: None, program, arguments, log };
        daemon.run();
        daemon
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill), without waiting until it
    /// serves. Its log begins anew.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    pub fn run(&mut self) {
        // A process that keeps the pipe of a test's output open would keep the test waiting.
        let log = File::create(&self.log).expect("there is space");
        let mut command = Command::new(self.program);
        command.args(&self.arguments).stdout(log.try_clone().expect("it is a file")).stderr(log);
        self.child = Some(command.spawn().expect("the program is there"));
    }

    /// Returns the number of its process.
    ///
    /// # Panics
    /// Panics if it was stopped.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Returns what it has logged since its start.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Stops it in order.
    ///
    /// # Panics
    /// Panics if it fails.
    pub fn stop(&mut self) {
        process::signal(self.pid(), "TERM");
        let status = self.child.take().expect("it runs").wait().expect("it is a child");
        assert!(status.success(), "{}: {}", self.program, self.log());
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A real master.
#[derive(Debug)]
pub struct Master {
    /// The process.
    pub daemon: Daemon,
    /// The port for metaloggers. That for chunkservers and that for clients follow.
    pub port: u16,
}

impl Master {
    /// Writes the configuration `name` of a master into `folder`, and starts it. `data` has its metadata;
    /// a new one begins where there are none. `more` are further lines of its configuration. Everybody
    /// may do everything: a test that wants other exports writes `exports.cfg` of `folder` before.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub fn start(folder: &Folder, name: &str, data: &Path, port: u16, more: &str) -> Self {
        fs::create_dir_all(data).expect("there is space");
        let mut has_metadata = fs::read_dir(data).expect("it is a folder").flatten();
        if !has_metadata.any(|it| it.file_name().to_string_lossy().starts_with("metadata")) {
            fs::write(data.join("metadata.mfs"), "MFSM NEW").expect("there is space");
        }
        let exports = folder.file("exports.cfg");
        if !Path::new(&exports).exists() {
            fs::write(&exports, "* / rw,alldirs,admin,maproot=0:0\n").expect("there is space");
        }
        let topology = folder.file("topology.cfg");
        fs::write(&topology, "").expect("there is space");
        let [metaloggers, chunkservers, clients] = [port, port + 1, port + 2];
        let text = format!(
            "WORKING_USER = root\nWORKING_GROUP = root\nDISABLE_OOM_KILLER = 0\n\
             DATA_PATH = {}\nEXPORTS_FILENAME = {exports}\nTOPOLOGY_FILENAME = {topology}\n\
             MATOML_LISTEN_HOST = {HOST}\nMATOML_LISTEN_PORT = {metaloggers}\n\
             MATOCS_LISTEN_HOST = {HOST}\nMATOCS_LISTEN_PORT = {chunkservers}\n\
             MATOCL_LISTEN_HOST = {HOST}\nMATOCL_LISTEN_PORT = {clients}\n{more}",
            data.display()
        );
        let config = folder.file(name);
        fs::write(&config, text).expect("there is space");
        let log = PathBuf::from(format!("{config}.log"));
        let daemon = Daemon::start("mfsmaster", &["-a", "-f", "-c", &config, "start"], log);
        let master = Self { daemon, port };
        master.wait();
        master
    }

    /// Starts it again after it was stopped.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub fn run(&mut self) {
        self.daemon.run();
        self.wait();
    }

    fn wait(&self) {
        wait_until("the start of the master", || TcpStream::connect((HOST, self.port + 2)).is_ok());
    }

    /// Returns the address for clients.
    pub fn clients(&self) -> String {
        format!("{HOST}:{}", self.port + 2)
    }

    /// Asks `mfscli` for a section, such as `-SIG`: fields between tabs.
    pub fn ask(&self, section: &str) -> String {
        ask(self.port + 2, &[section])
    }

    /// Waits until so many chunkservers are connected and have shown their space. A chunk that is
    /// created before gets "no space left".
    ///
    /// # Panics
    /// Panics if that takes too long.
    pub fn wait_for_chunkservers(&self, count: usize) {
        wait_until(&format!("the registration of {count} chunkservers"), || {
            let servers = self.ask("-SCS");
            let has_space = |line: &&str| {
                let total = line.split('\t').nth(10).and_then(|it| it.parse::<u64>().ok());
                line.starts_with("chunk servers:\t") && total.is_some_and(|it| it > 0)
            };
            servers.lines().filter(has_space).count() >= count
        });
    }
}

/// Asks the master with this port for clients for some sections, with `mfscli`: fields between tabs.
pub fn ask(port: u16, sections: &[&str]) -> String {
    let mut command = Command::new("mfscli");
    command.args(["-H", HOST, "-P", &port.to_string(), "-n", "-p"]).args(sections);
    String::from_utf8_lossy(&process::run(&mut command, b"").stdout).into_owned()
}

/// A real metalogger.
#[derive(Debug)]
pub struct Metalogger {
    /// The process.
    pub daemon: Daemon,
    /// The folder of its files.
    pub data: PathBuf,
}

impl Metalogger {
    /// Writes the configuration of the metalogger `name` into `folder`, and starts it. Its files are in
    /// the folder `NAME.data` there, and `master` is the port for metaloggers.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    pub fn start(folder: &Folder, name: &str, master: u16) -> Self {
        let data = folder.path().join(format!("{name}.data"));
        fs::create_dir_all(&data).expect("there is space");
        let text = format!(
            "WORKING_USER = root\nWORKING_GROUP = root\nDISABLE_OOM_KILLER = 0\n\
             DATA_PATH = {}\nMASTER_HOST = {HOST}\nMASTER_PORT = {master}\n",
            data.display()
        );
        let config = folder.file(&format!("{name}.cfg"));
        fs::write(&config, text).expect("there is space");
        let log = PathBuf::from(format!("{config}.log"));
        let daemon = Daemon::start("mfsmetalogger", &["-f", "-c", &config, "start"], log);
        Self { daemon, data }
    }

    /// Returns the bytes of one of its files, or nothing if it is not there.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.data.join(name)).unwrap_or_default()
    }
}

/// A real chunkserver.
#[derive(Debug)]
pub struct ChunkServer {
    /// The process.
    pub daemon: Daemon,
    /// The data port.
    pub port: u16,
    /// The folder that stands for its disk.
    pub disk: PathBuf,
}

impl ChunkServer {
    /// Writes the configuration of the chunkserver `name` into `folder`, and starts it. Its disk is the
    /// folder `NAME.disk` there. `master` is the port for chunkservers, and `more` are further lines of
    /// its configuration.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    pub fn start(folder: &Folder, name: &str, port: u16, master: u16, more: &str) -> Self {
        let disk = folder.path().join(format!("{name}.disk"));
        let data = folder.path().join(format!("{name}.data"));
        fs::create_dir_all(&disk).expect("there is space");
        fs::create_dir_all(&data).expect("there is space");
        let disks = folder.file(&format!("{name}.disks"));
        fs::write(&disks, format!("{}\n", disk.display())).expect("there is space");
        let text = format!(
            "WORKING_USER = root\nWORKING_GROUP = root\nDISABLE_OOM_KILLER = 0\n\
             DATA_PATH = {}\nHDD_CONF_FILENAME = {disks}\nHDD_LEAVE_SPACE_DEFAULT = 1GiB\n\
             MASTER_HOST = {HOST}\nMASTER_PORT = {master}\n\
             CSSERV_LISTEN_HOST = {HOST}\nCSSERV_LISTEN_PORT = {port}\n{more}",
            data.display()
        );
        let config = folder.file(&format!("{name}.cfg"));
        fs::write(&config, text).expect("there is space");
        let log = PathBuf::from(format!("{config}.log"));
        let daemon = Daemon::start("mfschunkserver", &["-f", "-c", &config, "start"], log);
        Self { daemon, port, disk }
    }
}

/// A mount of the real client. It is detached on drop, whatever waits for it.
#[derive(Debug)]
pub struct Mount {
    /// The folder that it is mounted on.
    pub path: PathBuf,
    daemon: Daemon,
}

impl Mount {
    /// Mounts the file system of a master, of which `port` is the port for clients, on the folder `name`
    /// of `folder`. Where there is no FUSE, that is said and no failure, also if peers are required: no package
    /// brings it.
    ///
    /// # Panics
    /// Panics if the mount does not come.
    pub fn start(folder: &Folder, name: &str, port: u16) -> Option<Self> {
        if let Err(error) = File::options().read(true).write(true).open("/dev/fuse") {
            tell("SKIPPED", &format!("/dev/fuse: {error}"));
            return None;
        }
        let path = folder.path().join(name);
        fs::create_dir_all(&path).expect("there is space");
        let text = path.to_str().expect("the path is text");
        let port = port.to_string();
        let arguments = ["-f", "-n", text, "-H", HOST, "-P", &port];
        let log = folder.path().join(format!("{name}.log"));
        let mount = Self { daemon: Daemon::start("mfsmount", &arguments, log), path };
        wait_until("the mount", || {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            let is_there = mounts.contains(mount.path.to_str().expect("it is text"));
            assert!(is_there || process::runs(mount.daemon.pid()), "{}", mount.daemon.log());
            is_there
        });
        Some(mount)
    }

    /// Returns the number of its process.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
