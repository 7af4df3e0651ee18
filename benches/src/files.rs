//! The files that servers of files serve, in a folder of their own, and their certificate.

use std::fs;
use std::io;

use testkit::Folder;
use testkit::authority::Authority;

use crate::load::talk::{content, path};

/// The name of the file with the certificate (ECDSA with P-256).
pub const CERTIFICATE: &str = "certificate.pem";
/// The name of the file with its key.
pub const KEY: &str = "key.pem";

/// Creates a folder with a file of this size, as a client asks for it, and a certificate for
/// `localhost`. It is removed on drop.
///
/// # Errors
/// Fails if a file cannot be written.
pub fn folder(size: usize) -> io::Result<Folder> {
    let folder = Folder::new("files");
    fs::write(folder.file(path(size).trim_start_matches('/')), content(size))?;
    let issued = Authority::new("comparison").server(&["localhost"]);
    fs::write(folder.file(CERTIFICATE), issued.certificate)?;
    fs::write(folder.file(KEY), issued.key)?;
    Ok(folder)
}
