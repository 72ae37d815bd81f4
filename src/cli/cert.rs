//! `annal cert`: certificates for trying encrypted connections on one machine.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::failure::{Exit, Failure};
use super::output::{Output, faint};
use super::secure::as_option;
use crate::disk::{Host, OsHost};

/// Make certificates to try encrypted connections with
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    Dev(Dev),
}

/// Make a certificate for this machine, and the one of its issuer
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The certificate is for localhost, 127.0.0.1 and ::1, and holds for 398 days. Whoever has
the issuer's key can make others that the same clients trust: keep it, or delete it.

Examples:
  annal cert dev
  annal cert dev --out /tmp/annal-certs --name my-machine")]
pub(super) struct Dev {
    /// Where the four files go
    #[arg(long, value_name = "DIR", default_value = "./annal-certs")]
    out: PathBuf,
    /// A further host name or address that the certificate is for
    #[arg(long, value_name = "HOST")]
    name: Vec<String>,
}

impl From<rcgen::Error> for Failure {
    fn from(error: rcgen::Error) -> Self {
        Self::new(Exit::Failure, format!("cannot make a certificate: {error}"))
    }
}

/// How long the certificate holds: no longer than any client takes one.
const VALID: Duration = Duration::days(398);

/// Makes what is asked for.
pub(super) fn run(verb: Verb, output: Output) -> Result<(), Failure> {
    let Verb::Dev(args) = verb;
    let now_us = i128::from(OsHost.now_us());
    let now = OffsetDateTime::from_unix_timestamp_nanos(now_us * 1000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let params = |names: Vec<String>, name: &str| -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        // A clock that is a little behind must not refuse it.
        params.not_before = now - Duration::days(1);
        params.not_after = now + VALID;
        Ok(params)
    };
    let mut issuer = params(Vec::new(), "Annal development issuer")?;
    issuer.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(issuer, KeyPair::generate()?)?;
    let mut names = vec!["localhost".into(), "127.0.0.1".into(), "::1".into()];
    names.extend(args.name);
    let mut server = params(names, "localhost")?;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &issuer)?;

    fs::create_dir_all(&args.out)?;
    let path = |name: &str| args.out.join(name);
    let files = [
        ("ca.crt", issuer.pem(), 0o644),
        ("ca.key", issuer.key().serialize_pem(), 0o600),
        ("server.crt", certificate.pem(), 0o644),
        ("server.key", key.serialize_pem(), 0o600),
    ];
    for (name, _, _) in &files {
        if path(name).exists() {
            let message = format!("{} is there already", path(name).display());
            let failure = Failure::new(Exit::Failure, message);
            return Err(failure.advise("remove it, or name another folder with --out"));
        }
    }
    for (name, text, mode) in &files {
        write(&path(name), text, *mode)?;
    }
    let (ca, crt, key) = (path("ca.crt"), path("server.crt"), path("server.key"));
    let address = format!("annals://127.0.0.1:2112?tls_ca={}", as_option(&ca));
    let text = format!(
        "made {ca}, {crt} and their keys\n\n{}\n  annal serve --tls-cert {crt} --tls-key {key}\n\n\
         {}\n  annal status --server '{address}'",
        faint("start a server with it:"),
        faint("and connect to it:"),
        ca = ca.display(),
        crt = crt.display(),
        key = key.display(),
    );
    let json = json!({
        "ca": ca.display().to_string(),
        "certificate": crt.display().to_string(),
        "key": key.display().to_string(),
        "server": address,
    });
    output.result(&text, &json)
}

/// Makes a file; who else may read it is settled before anything stands in it.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
