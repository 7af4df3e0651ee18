//! The real programs that connect to a master, and `mfscli`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};

use testkit::{Folder, process};

/// A network without the outside: the programs of MooseFS refuse addresses of 127.0.0.0/8.
pub(crate) const NETWORK: &str = "ip link set lo up\nip addr add 10.99.0.1/32 dev lo";
pub(crate) const HOST: &str = "10.99.0.1";

/// Returns what every real program has in its configuration.
fn common(data: &str) -> String {
    format!(
        "WORKING_USER = root\nWORKING_GROUP = root\nDISABLE_OOM_KILLER = 0\nDATA_PATH = {data}\n"
    )
}

/// A real program in the foreground. It is ended on drop.
pub(crate) struct Daemon {
    program: &'static str,
    config: String,
    child: Option<Child>,
}

impl Daemon {
    fn start(program: &'static str, config: String) -> Self {
        let mut daemon = Self { program, config, child: None };
        daemon.run();
        daemon
    }

    /// Starts it again.
    pub(crate) fn run(&mut self) {
        let log = File::create(format!("{}.log", self.config)).expect("there is space");
        let mut command = Command::new(self.program);
        command.args(["-f", "-c", &self.config, "start"]);
        command.stdout(log.try_clone().expect("it is a file")).stderr(log);
        self.child = Some(command.spawn().expect("the program is there"));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Stops it gracefully.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        process::signal(self.pid(), "TERM");
        let status = self.child.take().expect("it runs").wait().expect("it is a child");
        assert!(status.success(), "{}", self.log());
    }

    /// Returns what it has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(format!("{}.log", self.config)).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A real metalogger with its folder.
pub(crate) struct RealMetalogger {
    pub(crate) daemon: Daemon,
    pub(crate) data: PathBuf,
}

impl RealMetalogger {
    pub(crate) fn start(folder: &Folder, name: &str, master_port: u16) -> Self {
        let data = folder.path().join(name);
        fs::create_dir(&data).expect("there is space");
        let text = format!(
            "{}MASTER_HOST = {HOST}\nMASTER_PORT = {master_port}\n",
            common(&folder.file(name))
        );
        let config = folder.file(&format!("{name}.cfg"));
        fs::write(&config, text).expect("there is space");
        Self { daemon: Daemon::start("mfsmetalogger", config), data }
    }

    /// Returns the bytes of a file of its folder, or nothing if it is not there.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.data.join(name)).unwrap_or_default()
    }
}

/// A real chunkserver with its disk.
pub(crate) struct RealChunkserver {
    pub(crate) daemon: Daemon,
    pub(crate) disk: PathBuf,
}

impl RealChunkserver {
    /// Starts one. `more` are further lines of its configuration.
    pub(crate) fn start(
        folder: &Folder,
        name: &str,
        master_port: u16,
        port: u16,
        more: &str,
    ) -> Self {
        let (data, disk) = (folder.path().join(name), folder.path().join(format!("{name}-disk")));
        fs::create_dir(&data).expect("there is space");
        fs::create_dir(&disk).expect("there is space");
        let disks = folder.file(&format!("{name}-disks.cfg"));
        fs::write(&disks, format!("{}\n", disk.display())).expect("there is space");
        let text = format!(
            "{}HDD_CONF_FILENAME = {disks}\nHDD_LEAVE_SPACE_DEFAULT = 1GiB\n\
             MASTER_HOST = {HOST}\nMASTER_PORT = {master_port}\n\
             CSSERV_LISTEN_HOST = {HOST}\nCSSERV_LISTEN_PORT = {port}\n{more}\n",
            common(&folder.file(name))
        );
        let config = folder.file(&format!("{name}.cfg"));
        fs::write(&config, text).expect("there is space");
        Self { daemon: Daemon::start("mfschunkserver", config), disk }
    }

    /// Returns the files of its chunks.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(&self.disk).expect("it is a folder").flatten();
        let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok());
        let paths = files.flat_map(|files| files.flatten().map(|file| file.path()));
        paths.filter(|path| path.extension().is_some_and(|it| it == "mfs")).collect()
    }
}

/// Asks a master with `mfscli` for some sections.
pub(crate) fn ask(port: u16, sections: &[&str]) -> String {
    let mut command = Command::new("mfscli");
    command.args(["-H", HOST, "-P", &port.to_string(), "-n", "-p"]).args(sections);
    String::from_utf8_lossy(&process::run(&mut command, b"").stdout).into_owned()
}
