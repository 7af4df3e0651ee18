//! TLS for every server: its arguments, and the files of its certificates.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use log::{error, info};
use protocol::Limits;
use protocol::tls::{ClientCertificates, Identity, Roots, TlsServer, TlsServerOptions, Version};

use crate::args::parse_duration;

/// How many bytes a file has at most. The authorities of a system take some 200 KB.
const SIZE_MAX: u64 = 16 << 20;

/// What the server asks of the certificates of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientAuth {
    /// A client may show a certificate.
    Optional,
    /// A client has to show a certificate.
    Required,
}

/// The arguments for addresses of `tls://`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// File with the certificate for addresses of tls://, in PEM, followed by those of its
    /// authorities; several are chosen by the name that a client asks for. SIGHUP reads all files
    /// again
    #[arg(long = "cert", value_name = "FILE")]
    certificates: Vec<PathBuf>,

    /// File with the private key of the certificate, in PEM: one for each --cert, in the same order;
    /// without any, each key is in the file of its certificate
    #[arg(long = "key", value_name = "FILE", requires = "certificates")]
    keys: Vec<PathBuf>,

    /// File with the authorities, in PEM, that the certificates of clients have to be from
    #[arg(long, value_name = "FILE", requires = "certificates")]
    client_ca: Option<PathBuf>,

    /// Whether clients have to show a certificate, if there is --client-ca
    #[arg(long, value_name = "WHETHER", default_value = "required", requires = "client_ca")]
    client_auth: ClientAuth,

    /// Oldest version of TLS that is accepted
    #[arg(long, value_name = "VERSION", default_value = "1.2", value_parser = parse_version)]
    tls_min: Version,

    /// Time for the handshake of a connection; then it is closed
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    handshake_timeout: Duration,
}

impl Default for TlsArgs {
    /// Returns the arguments of a server without certificates.
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            keys: Vec::new(),
            client_ca: None,
            client_auth: ClientAuth::Required,
            tls_min: Version::Tls12,
            handshake_timeout: Limits::DEFAULT.handshake,
        }
    }
}

fn parse_version(text: &str) -> Result<Version, String> {
    match text {
        "1.2" => Ok(Version::Tls12),
        "1.3" => Ok(Version::Tls13),
        _ => Err("expected 1.2 or 1.3: older versions are broken".to_owned()),
    }
}

/// The certificates of a server, which can be read again from their files.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    server: TlsServer,
    args: Arc<TlsArgs>,
}

impl TlsArgs {
    /// Returns the paths of all files.
    fn files(&self) -> impl Iterator<Item = &Path> {
        let all = self.certificates.iter().chain(&self.keys).chain(&self.client_ca);
        all.map(PathBuf::as_path)
    }
}

impl Tls {
    /// Reads the certificates; `None` if there are none.
    ///
    /// # Errors
    /// One sentence that names the file, and what is wrong with it.
    pub(crate) fn load(args: &TlsArgs) -> io::Result<Option<Self>> {
        if args.certificates.is_empty() {
            return Ok(None);
        }
        let server = TlsServer::new(read(args)?)?;
        Ok(Some(Self { server, args: Arc::new(args.clone()) }))
    }

    /// Returns what connections share.
    pub(crate) fn server(&self) -> &TlsServer {
        &self.server
    }

    /// Returns how long a handshake may take.
    pub(crate) fn handshake_timeout(&self) -> Duration {
        self.args.handshake_timeout
    }

    /// Reads the files again. If one cannot be used, the present certificates stay.
    pub(crate) fn reload(&self) {
        let check = |path: &Path| match fs::metadata(path) {
            // To open a pipe waits for its other side, and what it has brought is gone.
            Ok(it) if !it.is_file() => {
                Err(about(path, &"this is no regular file, and is read at the start only"))
            }
            _ => Ok(()),
        };
        let files = self.args.files().try_for_each(check);
        match files
            .and_then(|()| read(&self.args))
            .and_then(|options| Ok(self.server.replace(options)?))
        {
            Ok(()) => info!("the certificates were read again, for new connections"),
            Err(error) => error!("the certificates stay as they are: {error}"),
        }
    }
}

fn read(args: &TlsArgs) -> io::Result<TlsServerOptions> {
    if !args.keys.is_empty() && args.keys.len() != args.certificates.len() {
        let (certificates, keys) = (args.certificates.len(), args.keys.len());
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{certificates} files of certificates need as many of keys, and not {keys}"),
        ));
    }
    let keys = if args.keys.is_empty() { &args.certificates } else { &args.keys };
    let pairs = args.certificates.iter().zip(keys);
    let identities = pairs.map(|(chain, key)| identity(chain, key)).collect::<io::Result<_>>()?;
    let mut options = TlsServerOptions::new(identities);
    options.version_min = args.tls_min;
    if let Some(path) = &args.client_ca {
        let roots = Roots::from_pem(&contents(path)?).map_err(|error| about(path, &error))?;
        options.clients = match args.client_auth {
            ClientAuth::Optional => ClientCertificates::Optional(roots),
            ClientAuth::Required => ClientCertificates::Required(roots),
        };
    }
    Ok(options)
}

fn identity(chain: &Path, key: &Path) -> io::Result<Identity> {
    let identity = Identity::from_pem(&contents(chain)?, &contents(key)?);
    identity.map_err(|error| match chain == key {
        true => {
            about(chain, &format!("{error}; --key names the file of the key if it is another one"))
        }
        false => io::Error::other(format!("{} and {}: {error}", chain.display(), key.display())),
    })
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SIZE_MAX + 1).read_to_end(&mut contents))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    if contents.len() as u64 > SIZE_MAX {
        return Err(about(path, &"this has more than 16 MiB, and is no file of certificates"));
    }
    Ok(contents)
}

fn about(path: &Path, error: &dyn Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
