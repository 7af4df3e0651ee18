//! An authority that issues certificates, for tests of TLS.

use std::fs;

use crate::Folder;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// A certificate and its private key, each in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key, in PKCS #8.
    pub key: String,
}

/// An authority with a key of its own.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// Returns an authority with this name.
    ///
    /// # Panics
    /// If no key can be generated.
    pub fn new(name: &str) -> Self {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Returns the certificate of the authority, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate for a server with these names, which may be IP addresses.
    pub fn server(&self, names: &[&str]) -> Issued {
        self.issue(names[0], names, ExtendedKeyUsagePurpose::ServerAuth, (2020, 2090))
    }

    /// Issues a certificate for a server that is valid from the beginning of one year to that of
    /// another.
    pub fn server_between(&self, names: &[&str], years: (i32, i32)) -> Issued {
        self.issue(names[0], names, ExtendedKeyUsagePurpose::ServerAuth, years)
    }

    /// Issues a certificate for a client with this name.
    pub fn client(&self, name: &str) -> Issued {
        self.issue(name, &[], ExtendedKeyUsagePurpose::ClientAuth, (2020, 2090))
    }

    fn issue(
        &self,
        name: &str,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
        (from, until): (i32, i32),
    ) -> Issued {
        let mut params = named(name, names);
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) =
            (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A folder with the certificate of an authority, and with those that it has issued. It is removed on
/// drop.
#[derive(Debug)]
pub struct Files {
    folder: Folder,
    issuer: Authority,
}

impl Files {
    /// Makes an authority, and a folder for this test with its certificate.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn new(test: &str) -> Self {
        let (folder, issuer) = (Folder::new(test), Authority::new("Test Authority"));
        fs::write(folder.file("ca.pem"), issuer.certificate()).expect("it is written");
        Self { folder, issuer }
    }

    /// Returns the authority.
    pub fn issuer(&self) -> &Authority {
        &self.issuer
    }

    /// Returns the path of the certificate of the authority.
    pub fn authority(&self) -> String {
        self.folder.file("ca.pem")
    }

    /// Returns the path of a certificate.
    pub fn certificate(&self, name: &str) -> String {
        self.folder.file(&format!("{name}.pem"))
    }

    /// Returns the path of a key.
    pub fn key(&self, name: &str) -> String {
        self.folder.file(&format!("{name}.key"))
    }

    /// Returns the path of another file.
    pub fn path(&self, name: &str) -> String {
        self.folder.file(name)
    }

    /// Writes a certificate and its key under a name.
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn write(&self, name: &str, issued: &Issued) {
        fs::write(self.certificate(name), &issued.certificate).expect("it is written");
        fs::write(self.key(name), &issued.key).expect("it is written");
    }
}

fn named(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are those of hosts");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
