//! Help, version and errors in arguments, and where they are printed.

use std::fs::File;
use std::process::{Command, Stdio};

#[test]
fn a_failure_to_print_help_names_standard_output() {
    for (name, program) in [
        ("echo-server", env!("CARGO_BIN_EXE_echo-server")),
        ("uppercase", env!("CARGO_BIN_EXE_uppercase")),
        ("kv", env!("CARGO_BIN_EXE_kv")),
        ("dns", env!("CARGO_BIN_EXE_dns")),
        ("mfs-chunkserver", env!("CARGO_BIN_EXE_mfs-chunkserver")),
        ("mfs-master", env!("CARGO_BIN_EXE_mfs-master")),
        ("mfs-metalogger", env!("CARGO_BIN_EXE_mfs-metalogger")),
        ("web", env!("CARGO_BIN_EXE_web")),
    ] {
        for (option, code) in [("--help", 1), ("--version", 1), ("--nonsense", 2)] {
            let full = File::options().write(true).open("/dev/full").expect("it is there");
            let output = Command::new(program).arg(option).stdout(full).output().expect("it runs");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{name} {option}: {errors}");
            let names_output =
                errors.starts_with(&format!("{name}: standard output: No space left"));
            assert_eq!(names_output, option != "--nonsense", "{errors}");
        }
        let (reader, writer) = std::io::pipe().expect("descriptors are free");
        drop(reader);
        let mut help = Command::new(program);
        let help = help.arg("--help").stdout(writer).stderr(Stdio::piped());
        let output = help.spawn().expect("it starts").wait_with_output().expect("it ends");
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(141), &b""[..]),
            "{name}"
        );
    }
}
