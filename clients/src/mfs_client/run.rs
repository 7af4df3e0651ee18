//! The commands.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use protocol::mfs::FileType;

use super::exit::{DIFFERS, Failed, INTERRUPTED, USAGE};
use super::interrupt::Interrupt;
use super::local::{LocalFile, kept};
use super::options::{Cli, Command};
use super::show;
use super::watcher::{Telling, Watcher};
use crate::Failure;
use crate::mfs::{
    Cause, Client, Error, LastLink, Listed, Source, StreamSink, Verified, is_missing,
};

/// One call of the program.
pub(super) struct Run {
    client: Client,
    interrupt: Interrupt,
    is_quiet: bool,
    /// The code of the first failure.
    code: u8,
}

/// Carries a command out. Returns the exit code.
pub(super) fn run(cli: &Cli) -> Result<u8, Failed> {
    let interrupt = Interrupt::listen().map_err(|error| Failed::new(1, error.to_string()))?;
    let client = Client::open(cli.connect.options()?)?;
    let mut run = Run { client, interrupt, is_quiet: cli.quiet, code: 0 };
    match &cli.command {
        Command::Ls { long, recursive, paths } => run.ls(paths, *long, *recursive)?,
        Command::Stat { paths } => run.each(paths, Run::stat)?,
        Command::Cat { paths } => run.each(paths, Run::cat)?,
        Command::Get { preserve, path, file } => run.get(path, file, *preserve)?,
        Command::Put { preserve, file, path } => run.put(file, path, *preserve)?,
        Command::Df => {
            let space = run.client.space()?;
            print(show::space(&space).as_bytes())?;
        }
        Command::Verify { reference, paths } => {
            run.each(paths, |run, path| run.verify(path, reference.as_deref()))?;
        }
    }
    Ok(run.code)
}

impl Run {
    /// Does something with each path. A failure of one does not keep it from the others, unless standard
    /// output is closed or the user interrupts.
    fn each(
        &mut self,
        paths: &[PathBuf],
        mut work: impl FnMut(&mut Self, &Path) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        for path in paths {
            match work(self, path) {
                Err(failed) if failed.text.is_empty() || self.interrupt.has_happened() => {
                    return Err(failed);
                }
                result => self.note(result),
            }
        }
        Ok(())
    }

    /// Reports a failure.
    fn note(&mut self, result: Result<(), Failed>) {
        if let Err(failed) = result {
            show::complain(&failed.text);
            self.code = if self.code == 0 { failed.code } else { self.code };
        }
    }

    fn watcher(&self, path: &Path, total: Option<u64>, uses_stdout: bool) -> Watcher {
        let telling = Telling::of(self.is_quiet, uses_stdout);
        Watcher::new(&self.interrupt, telling, path, total)
    }

    fn ls(&mut self, paths: &[PathBuf], long: bool, recursive: bool) -> Result<(), Failed> {
        let has_titles = recursive || paths.len() > 1;
        let mut is_first = true;
        let mut title = |path: &Path| {
            let gap = if std::mem::take(&mut is_first) { "" } else { "\n" };
            let name = show::shown(path.as_os_str().as_encoded_bytes());
            if has_titles { [gap.as_bytes(), &name, b":\n"].concat() } else { Vec::new() }
        };
        self.each(paths, |run, path| {
            let found = run.client.find(path, LastLink::Keep)?;
            if found.file_type() != FileType::Directory {
                let name = path.as_os_str().as_encoded_bytes().to_vec();
                return run.entries(&[Listed { name, found }], long);
            }
            if !recursive {
                let names = run.client.list(path)?;
                print(&title(path))?;
                return run.entries(&names, long);
            }
            let mut tree = run.client.tree(path)?;
            while let Some((path, names)) = tree.next(&mut run.client)? {
                print(&title(&path))?;
                match names {
                    Ok(names) => run.entries(&names, long)?,
                    Err(error) => run.note(Err(error.into())),
                }
                run.heed()?;
            }
            Ok(())
        })
    }

    /// Prints the names of a directory.
    fn entries(&mut self, names: &[Listed], long: bool) -> Result<(), Failed> {
        let mut text = Vec::new();
        for Listed { name, found } in names {
            if long {
                text.extend(show::long(&found.attributes).into_bytes());
            }
            text.extend(show::shown(name));
            if long && found.file_type() == FileType::Symlink {
                text.extend(b" -> ");
                text.extend(show::shown(&self.client.read_link(found)?));
            }
            text.push(b'\n');
        }
        print(&text)
    }

    fn stat(&mut self, path: &Path) -> Result<(), Failed> {
        let found = self.client.find(path, LastLink::Keep)?;
        let mut text = show::shown(path.as_os_str().as_encoded_bytes());
        text.push(b'\n');
        text.extend(show::attributes(&found).into_bytes());
        if found.file_type() == FileType::Symlink {
            text.extend(b"  leads to  ");
            text.extend(show::shown(&self.client.read_link(&found)?));
            text.push(b'\n');
        }
        print(&text)
    }

    fn cat(&mut self, path: &Path) -> Result<(), Failed> {
        let mut watcher = self.watcher(path, None, true);
        let mut sink = StreamSink::new(io::stdout().lock());
        match self.client.get(path, &mut sink, &mut watcher) {
            Ok(_) => Ok(()),
            Err(error) => Err(of_output(error)),
        }
    }

    fn get(&mut self, path: &Path, file: &Path, preserve: bool) -> Result<(), Failed> {
        if file == Path::new("-") {
            return self.cat(path);
        }
        let length = self.client.find(path, LastLink::Follow)?.attributes.length;
        let mut watcher = self.watcher(path, Some(length), false);
        let target = match fs::metadata(file) {
            Ok(metadata) if metadata.is_dir() => file.join(name_of(path)?),
            Ok(metadata) if !metadata.is_file() => {
                // A device or a FIFO is no place for another file.
                let stream = File::options().write(true).open(file);
                let mut sink =
                    StreamSink::new(stream.map_err(|error| Failed::local(file, &error))?);
                let got = self.client.get(path, &mut sink, &mut watcher);
                return got.map(drop).map_err(|error| of_local(error, file));
            }
            _ => file.to_owned(),
        };
        let mut sink = LocalFile::new(&target);
        let got = self.client.get(path, &mut sink, &mut watcher);
        let found = got.map_err(|error| of_local(error, &target))?;
        let completed = sink.complete(&found.attributes, preserve);
        completed.map_err(|error| Failed::local(&target, &error))
    }

    fn put(&mut self, file: &Path, path: &Path, preserve: bool) -> Result<(), Failed> {
        let failed = |error: io::Error| Failed::local(file, &error);
        if file == Path::new("-") {
            if preserve {
                let text = "standard input has no permissions and times to keep (-p)";
                return Err(Failed::new(USAGE, text));
            }
            let mut source = Source::stream(io::stdin()).map_err(failed)?;
            let mut watcher = self.watcher(path, None, false);
            self.client.put(path, 0o666, &mut source, &mut watcher)?;
            return Ok(());
        }
        let input = File::open(file).map_err(failed)?;
        let metadata = input.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let kept = kept(&input).map_err(failed)?;
        let total = metadata.is_file().then_some(metadata.len());
        let mut source = match metadata.is_file() {
            true => Source::file(input),
            false => Source::stream(input),
        }
        .map_err(failed)?;
        let target = match self.client.find(path, LastLink::Follow) {
            Ok(found) if found.file_type() == FileType::Directory => path.join(name_of(file)?),
            Err(error) if !is_missing(&error) => return Err(error.into()),
            _ => path.to_owned(),
        };
        let mut watcher = self.watcher(file, total, false);
        let mode = kept.permissions & 0o777;
        let put = self.client.put(&target, mode, &mut source, &mut watcher);
        let found = put.map_err(|error| of_local(error, file))?;
        if preserve {
            self.client.keep(&found, kept)?;
        }
        Ok(())
    }

    fn verify(&mut self, path: &Path, reference: Option<&Path>) -> Result<(), Failed> {
        let failed = |path: &Path, error: &io::Error| Failed::local(path, error);
        let opened = reference.map(|it| File::open(it).map_err(|error| failed(it, &error)));
        let opened = opened.transpose()?;
        let length = self.client.find(path, LastLink::Follow)?.attributes.length;
        let mut watcher = self.watcher(path, Some(length), true);
        let (mut is_sound, mut text) = (true, Vec::new());
        let result = self.client.verify(
            path,
            opened.as_ref(),
            &mut |verified| {
                is_sound &= verified.is_sound();
                text.extend(lines(path, &verified));
            },
            &mut watcher,
        );
        drop(watcher);
        print(&text)?;
        let found = result?;
        if let (Some(file), Some(reference)) = (&opened, reference) {
            let metadata = file.metadata().map_err(|error| failed(reference, &error))?;
            if metadata.len() != found.attributes.length {
                let (ours, theirs) = (found.attributes.length, metadata.len());
                let path = path.display();
                let text = format!("{path}: it has {ours} bytes, and the reference {theirs}");
                return Err(Failed::new(DIFFERS, text));
            }
        }
        if is_sound {
            return Ok(());
        }
        let text = format!("{}: not all copies are the same", path.display());
        Err(Failed::new(DIFFERS, text))
    }

    /// Fails after Ctrl-C.
    fn heed(&self) -> Result<(), Failed> {
        match self.interrupt.has_happened() {
            true => Err(Failed::new(INTERRUPTED, "interrupted")),
            false => Ok(()),
        }
    }
}

/// Returns the lines about a chunk.
fn lines(path: &Path, verified: &Verified) -> Vec<u8> {
    let mut text = Vec::new();
    let Verified { index, chunk, copies } = verified;
    let chunk = match chunk {
        Some((chunk, version)) => format!("{chunk}_{version:08X}"),
        None => "hole".to_owned(),
    };
    let mut line = |server: String, verdict: String| {
        text.extend(show::shown(path.as_os_str().as_encoded_bytes()));
        text.extend(format!(" chunk {index} {chunk} {server}: {verdict}\n").into_bytes());
    };
    for (server, verdict) in copies {
        let server = server.map_or("no server".to_owned(), |server| server.to_string());
        line(server, verdict.to_string());
    }
    if copies.is_empty() {
        line("no server".to_owned(), "zeros".to_owned());
    }
    text
}

/// Returns the last name of a path.
fn name_of(path: &Path) -> Result<&OsStr, Failed> {
    path.file_name().ok_or_else(|| {
        Failed::new(USAGE, format!("{}: a path with a name is needed", path.display()))
    })
}

/// Returns the failure of a transfer to standard output.
fn of_output(error: Error) -> Failed {
    match error.cause() {
        Cause::Local(failed) => Failure::of_output(failed).into(),
        _ => error.into(),
    }
}

/// Returns the failure of a transfer from or to a local file.
fn of_local(error: Error, path: &Path) -> Failed {
    match error.cause() {
        Cause::Local(failed) => Failed::local(path, failed),
        _ => error.into(),
    }
}

/// Writes to standard output.
fn print(bytes: &[u8]) -> Result<(), Failed> {
    crate::output::print(bytes).map_err(Failed::from)
}
