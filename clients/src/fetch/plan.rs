//! From the arguments to the transfers.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::exit::Failed;
use super::file::{Target, part_of, remote_name, resolved};
use super::options::Cli;
use super::run::{Planned, Settings};
use crate::http::args::field;
use crate::http::{Body, Error, Filled, Options, Request, Upload, parse_url, shown};

/// What is to be done.
pub(super) struct Plan {
    pub(super) settings: Arc<Settings>,
    pub(super) transfers: Vec<Planned>,
    pub(super) options: Options,
    pub(super) parallel: usize,
}

/// Stands for standard input until the loop reads it.
struct Placeholder;

impl Upload for Placeholder {
    fn fill(&mut self, _: &mut [u8]) -> io::Result<Filled> {
        Ok(Filled::End)
    }
}

/// Plans what the arguments ask for. `variable` reads a variable of the environment.
pub(super) fn plan(cli: &Cli, variable: impl Fn(&str) -> Option<String>) -> Result<Plan, Failed> {
    let wrong = |text: String| Failed::new(2, text);
    let body = data(cli)?;
    let mut transfers = Vec::with_capacity(cli.urls.len());
    let mut urls = Vec::with_capacity(cli.urls.len());
    let mut names = HashSet::new();
    for (place, text) in cli.urls.iter().enumerate() {
        let mut url = parse_url(text).map_err(|error| Failed::from(&error))?;
        if let Some(file) = &cli.upload_file {
            name_upload(&mut url, file);
        }
        let target = target(cli, place, &url)?;
        if let Target::File(path) = &target
            && path.as_path() != Path::new("/dev/null")
        {
            let whole = resolved(path);
            for path in [part_of(&whole), whole] {
                if !names.insert(path.clone()) {
                    let text = format!("two responses would be written to {}", path.display());
                    return Err(wrong(text));
                }
            }
        }
        urls.push(if url.password().is_some() { shown(&url) } else { text.clone() });
        let request = request(cli, url, body.as_deref())?;
        transfers.push(Planned { place, request, target });
    }
    if cli.output.len() > cli.urls.len() {
        return Err(wrong("there are more -o than URLs".to_owned()));
    }
    if cli.continue_at.is_some() && transfers.iter().all(|it| it.target == Target::Standard) {
        return Err(wrong("-C continues a file: give -o or -O".to_owned()));
    }
    let settings = Settings {
        urls,
        continue_at: cli.continue_at,
        max_filesize: cli.max_filesize,
        any_status: cli.any_status,
        shows_heads: cli.include || cli.head,
        decodes: cli.compressed,
        is_silent: cli.silent,
        is_verbose: cli.verbose,
    };
    let options = options(cli, variable)?;
    Ok(Plan { settings: Arc::new(settings), transfers, options, parallel: cli.parallel.into() })
}

/// Returns where the response of a URL goes.
fn target(cli: &Cli, place: usize, url: &Url) -> Result<Target, Failed> {
    let named = match cli.output.get(place) {
        Some(path) if path.as_os_str() == "-" => return Ok(Target::Standard),
        Some(path) => path.clone(),
        None if cli.remote_name => PathBuf::from(remote_name(url).ok_or_else(|| {
            Failed::new(2, format!("{}: its path has no name for a file: give -o FILE", shown(url)))
        })?),
        None => return Ok(Target::Standard),
    };
    let folder = cli.output_dir.clone().unwrap_or_default();
    Ok(Target::File(folder.join(named)))
}

/// Returns the body of `-d` and `--json`.
fn data(cli: &Cli) -> Result<Option<Vec<u8>>, Failed> {
    let parts: Vec<&String> = cli.data.iter().chain(&cli.json).collect();
    if parts.is_empty() {
        return Ok(None);
    }
    let mut body = Vec::new();
    for (place, part) in parts.into_iter().enumerate() {
        if place > 0 {
            body.push(b'&');
        }
        let failed = |error| Failed::new(26, format!("{}: {error}", &part[1..]));
        match part.strip_prefix('@') {
            Some("-") => {
                io::stdin().read_to_end(&mut body).map_err(failed)?;
            }
            Some(path) => body.extend(fs::read(path).map_err(failed)?),
            None => body.extend_from_slice(part.as_bytes()),
        }
    }
    Ok(Some(body))
}

/// Adds the name of the file to a URL of a folder.
fn name_upload(url: &mut Url, file: &Path) {
    let Some(name) = file.file_name().filter(|_| url.path().ends_with('/')) else { return };
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(&name.to_string_lossy());
    }
}

/// Returns the request of one URL.
fn request(cli: &Cli, url: Url, body: Option<&[u8]>) -> Result<Request, Failed> {
    let usual = match (&cli.upload_file, body) {
        _ if cli.head => "HEAD",
        (Some(_), _) => "PUT",
        (None, Some(_)) => "POST",
        (None, None) => "GET",
    };
    let method = cli.method.as_deref().unwrap_or(usual);
    let wrong = |error: Error| Failed::new(2, error.to_string());
    let mut request = Request::to(method, url).map_err(wrong)?;
    if let Some(body) = body {
        request = request.with_body(body.to_vec());
        let kind = match cli.json {
            Some(_) => "application/json",
            None => "application/x-www-form-urlencoded",
        };
        request.set_field("Content-Type", kind);
        if cli.json.is_some() {
            request.set_field("Accept", "application/json");
        }
    }
    if let Some(path) = &cli.upload_file {
        request.body = upload(path)?;
    }
    if let Some(range) = &cli.range {
        request.set_field("Range", format!("bytes={range}"));
    }
    if let Some(user) = &cli.user {
        let (user, word) = user.split_once(':').unwrap_or((user, ""));
        request.set_field("Authorization", crate::http::basic(user, word));
    }
    let mut given = HashSet::new();
    for line in &cli.fields {
        let (name, value) = field(line).map_err(|text| Failed::new(2, text))?;
        if given.insert(name.to_ascii_lowercase()) {
            request.remove_field(name);
        }
        match value.is_empty() {
            true => request.omit_field(name),
            false => request.fields.push((name.to_owned(), value.as_bytes().to_vec())),
        }
    }
    request.check().map_err(wrong)?;
    Ok(request)
}

/// Returns the body of `-T`.
fn upload(path: &Path) -> Result<Body, Failed> {
    if path.as_os_str() == "-" {
        return Ok(Body::Upload(Box::new(Placeholder)));
    }
    let failed = |error: io::Error| Failed::new(26, format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        let text =
            format!("{}: this is no file; give - and redirect standard input", path.display());
        return Err(Failed::new(26, text));
    }
    Ok(Body::File { file: Arc::new(file), offset: 0, length: found.len() })
}

/// Returns the options of the client.
fn options(cli: &Cli, variable: impl Fn(&str) -> Option<String>) -> Result<Options, Failed> {
    let mut options = Options::default();
    options.answer_timeout = cli.answer_timeout;
    options.stall_timeout = cli.stall_timeout;
    options.timeout = cli.max_time;
    options.redirects_max = cli.max_redirs;
    options.attempts_max = cli.retry.saturating_add(1);
    options.decodes = cli.compressed;
    options.connections_per_origin_max = cli.parallel.into();
    options.connections_max = options.connections_max.max(cli.parallel.into());
    options.user_agent = match &cli.user_agent {
        Some(text) => text.clone(),
        None => concat!("fetch/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    cli.connect.apply("fetch", variable, &mut options).map_err(|text| Failed::new(2, text))?;
    Ok(options)
}

/// Returns a short name of a transfer for its line of progress.
pub(super) fn short_name(target: &Target, url: &str) -> String {
    match target {
        Target::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        Target::Standard => url.split("://").last().unwrap_or(url).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn planned(args: &[&str]) -> Result<Plan, Failed> {
        let cli = Cli::try_parse_from(["fetch"].iter().chain(args)).expect("the arguments parse");
        plan(&cli, |_| None)
    }

    #[test]
    fn arguments_make_requests() {
        let plan = planned(&["one.example/a", "-d", "x=1", "-d", "y=2", "-H", "X-Mine: 1"]);
        let plan = plan.expect("it is a plan");
        let request = &plan.transfers[0].request;
        assert_eq!(
            (request.method.as_str(), request.url.as_str()),
            ("POST", "http://one.example/a")
        );
        assert_eq!(request.body.length(), Some(7));
        assert!(request.has_field("Content-Type") && request.has_field("X-Mine"));
        for (args, method) in [
            (&["one.example"][..], "GET"),
            (&["one.example", "-I"], "HEAD"),
            (&["one.example", "-T", "/dev/null/../null"], ""),
            (&["one.example", "-X", "PURGE"], "PURGE"),
            (&["one.example", "--json", "{}"], "POST"),
            (&["one.example", "-T", "-"], "PUT"),
        ] {
            match planned(args) {
                Ok(plan) => assert_eq!(plan.transfers[0].request.method, method, "{args:?}"),
                Err(failed) => assert!(method.is_empty(), "{failed:?}"),
            }
        }
    }

    #[test]
    fn each_response_has_a_target_of_its_own() {
        let plan = planned(&["a.example/x", "a.example/y", "-o", "1", "-O", "--output-dir", "/d"]);
        let targets: Vec<_> =
            plan.expect("it is a plan").transfers.into_iter().map(|it| it.target).collect();
        assert_eq!(targets, [Target::File("/d/1".into()), Target::File("/d/y".into())]);
        for (args, hint) in [
            (&["a.example/x", "b.example/x", "-O"][..], "two responses"),
            (&["a.example/x", "a.example/x.part", "-O"], "two responses"),
            (&["a.example", "b.example", "-o", "x", "-o", "./x"], "two responses"),
            (&["a.example/", "-O"], "no name for a file"),
            (&["a.example", "-o", "x", "-o", "y"], "more -o than URLs"),
            (&["a.example", "-C", "-"], "give -o or -O"),
            (&["a.example", "-H", "nonsense"], "is no field"),
            (&["a.example", "-H", "Content-Length: 1"], "cannot be set by hand"),
            (&["a.example", "-X", "G T"], "no method"),
            (&["a.example", "-x", "ftp://p"], "no address of a proxy"),
            (&["a.example", "--resolve", "x"], "HOST:PORT:ADDRESS"),
        ] {
            let failed = planned(args).err().expect(hint);
            assert!(failed.text.contains(hint) && failed.code == 2, "{failed:?}");
        }
        assert_eq!(planned(&["ftp://a.example"]).err().expect("refused").code, 3);
    }

    #[test]
    fn a_folder_gets_the_name_of_the_file() {
        let mut url = parse_url("http://a.example/in/").expect("it is a URL");
        name_upload(&mut url, Path::new("/tmp/a b.txt"));
        assert_eq!(url.as_str(), "http://a.example/in/a%20b.txt");
        let before = url.clone();
        name_upload(&mut url, Path::new("/tmp/c"));
        assert_eq!(url, before);
    }
}
