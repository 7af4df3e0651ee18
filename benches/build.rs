//! Compiles the loops written in C, each into its own program. A loop is left out if its
//! development package is not installed, and the report names it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A C library, and how to use it.
struct Library {
    name: &'static str,
    header: &'static str,
    /// Its name for pkg-config. Empty if nothing is linked to.
    module: &'static str,
    /// The linker flags if pkg-config does not know it.
    link: &'static str,
    /// The Debian package with its headers.
    package: &'static str,
}

const LIBRARIES: [Library; 6] = [
    // Nothing but the C library.
    Library { name: "recvmmsg", header: "stdio.h", module: "", link: "", package: "libc6-dev" },
    Library {
        name: "ring",
        header: "linux/io_uring.h",
        module: "",
        link: "",
        package: "linux-libc-dev",
    },
    Library {
        name: "ring_sends",
        header: "linux/io_uring.h",
        module: "",
        link: "",
        package: "linux-libc-dev",
    },
    Library {
        name: "libevent",
        header: "event2/event.h",
        module: "libevent_core",
        link: "-levent_core",
        package: "libevent-dev",
    },
    Library { name: "libev", header: "ev.h", module: "libev", link: "-lev", package: "libev-dev" },
    Library { name: "libuv", header: "uv.h", module: "libuv", link: "-luv", package: "libuv1-dev" },
];

impl Library {
    fn flags(&self) -> Vec<String> {
        if self.module.is_empty() {
            return Vec::new();
        }
        let output = Command::new("pkg-config").args(["--cflags", "--libs", self.module]).output();
        match output {
            Ok(output) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                text.split_whitespace().map(str::to_owned).collect()
            }
            _ => vec![self.link.to_owned()],
        }
    }

    /// Returns whether its header can be included.
    fn is_installed(&self, compiler: &str) -> bool {
        let mut command = Command::new(compiler);
        command.args(["-include", self.header, "-fsyntax-only", "-x", "c", "/dev/null"]);
        command.args(self.flags().iter().filter(|flag| flag.starts_with("-I")));
        command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Compiles the program. Returns its path, or the reason why it could not be compiled.
    fn compile(&self, compiler: &str, out: &Path) -> Result<PathBuf, String> {
        if !self.is_installed(compiler) {
            let package = self.package;
            return Err(format!("its headers are not installed: apt-get install {package}"));
        }
        let (source, program) = (format!("c/{}.c", self.name), out.join(self.name));
        let mut command = Command::new(compiler);
        command.args(["-std=gnu11", "-O3", "-Wall", "-Wextra", "-o"]).arg(&program).arg(&source);
        // Libraries come after the source that needs them.
        let output = command.args(self.flags()).output();
        match output {
            Ok(output) if output.status.success() => Ok(program),
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
                Err(format!("{source} does not compile: {text}"))
            }
            Err(error) => Err(format!("{compiler}: {error}")),
        }
    }
}

fn main() {
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CC");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let has_compiler = Command::new(&compiler)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for library in LIBRARIES {
        let name = library.name.to_uppercase();
        let result = match has_compiler {
            true => library.compile(&compiler, &out),
            false => {
                Err(format!("the C compiler {compiler} is not installed: apt-get install gcc"))
            }
        };
        // The header shows that a library was installed later.
        println!("cargo::rerun-if-changed=/usr/include/{}", library.header);
        match result {
            Ok(program) => println!("cargo::rustc-env=COMPARE_{name}={}", program.display()),
            Err(why) => {
                println!("cargo::warning={} is left out of the comparison: {why}", library.name);
                println!("cargo::rustc-env=ABSENT_{name}={why}");
            }
        }
    }
}
