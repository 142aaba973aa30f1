//! What goes wrong on the way to a file, and what to do about it.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::CertificateError;

use super::fetch::REDIRECTS_MAX;

/// Why a file was not fetched: where, what happened and what to do.
///
/// The text has no password, no user name and no query of an address in it.
#[derive(Debug, thiserror::Error)]
#[error("{at}: {fault}; {}", fault.remedy())]
pub struct FetchError {
    /// The address as people may see it.
    pub at: String,
    /// What happened.
    #[source]
    pub fault: Fault,
}

impl FetchError {
    /// Whether the same request may succeed in a while, without anybody changing a setting.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.fault.is_passing()
    }
}

/// What happened. [`Fault::remedy`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The host has no address, or the name service does not answer.
    #[error("no address was found for {host} ({reason})")]
    UnknownHost {
        /// The host.
        host: String,
        /// What the system says.
        reason: String,
    },
    /// The host has only addresses that the operator does not allow.
    #[error("{host} leads to {address}, {kind}, and this server may not go there")]
    AddressRefused {
        /// The host.
        host: String,
        /// The first of its addresses.
        address: IpAddr,
        /// What kind of address it is, with an article.
        kind: &'static str,
    },
    /// The file of the operator's certification authorities cannot be used.
    #[error("the file of certification authorities {} cannot be read ({reason})", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nobody whose certificates could be trusted.
    #[error("the certification authorities of the system cannot be used ({reason})")]
    Trust {
        /// What is wrong with them.
        reason: String,
    },
    /// Nobody listens there, or the way is barred.
    #[error("the server cannot be reached ({reason})")]
    Unreachable {
        /// What the system says.
        reason: String,
    },
    /// The connection was not there in time.
    #[error("the server was not reached within the limit of {limit:?}")]
    ConnectTimeout {
        /// [`super::Limits::connect`].
        limit: Duration,
    },
    /// The server did not prove who it is.
    #[error("no secure connection: {0}")]
    Tls(TlsFault),
    /// The server hung up before it answered, or did not speak HTTP.
    #[error("the server gave no complete HTTP answer ({reason})")]
    NoAnswer {
        /// What was missing.
        reason: String,
    },
    /// The server said nothing.
    #[error("the server sent nothing for {limit:?}, the limit for silence")]
    Silent {
        /// [`super::Limits::idle`].
        limit: Duration,
    },
    /// The whole took too long.
    #[error("the file was not there within {limit:?}, the limit for a whole fetch")]
    TooSlow {
        /// [`super::Limits::total`].
        limit: Duration,
    },
    /// Sent to another host or port, where the password must not go.
    #[error("the server sends us on to {to}, which is not the host and port that were entered")]
    RedirectedElsewhere {
        /// Host and port.
        to: String,
    },
    /// Sent to an address that is not https.
    #[error("the server sends us on to {to} without https")]
    RedirectedUnsafely {
        /// Host and port.
        to: String,
    },
    /// Sent to something that is no address, or to one with a user name in it.
    #[error("the server sends us on to an address that cannot be used")]
    RedirectUnreadable,
    /// Sent in circles.
    #[error("the server sends us on more than {REDIRECTS_MAX} times")]
    TooManyRedirects,
    /// 401, and no user name was sent.
    #[error("the server wants a user name and a password (401)")]
    PasswordWanted,
    /// 401, and a user name was sent.
    #[error("the server refuses the user name or the password (401)")]
    PasswordRefused,
    /// 403.
    #[error("the server does not allow this file to be read (403)")]
    Forbidden,
    /// 404.
    #[error("the server has no file at this address (404)")]
    NotFound,
    /// 410.
    #[error("the server has taken this file away for good (410)")]
    Gone,
    /// 408, 425, 429 or 503.
    #[error("the server asks to be left alone for a while ({status})")]
    Busy {
        /// The status.
        status: u16,
        /// How long, if the server says it in seconds.
        wait: Option<Duration>,
    },
    /// Another 5xx.
    #[error("the server has an error of its own ({status})")]
    ServerError {
        /// The status.
        status: u16,
    },
    /// A status that brings no file.
    #[error("the server answers with status {status}, which brings no file")]
    Status {
        /// The status.
        status: u16,
    },
    /// Compressed although that was not asked for.
    #[error("the server sent the file compressed although nothing of the kind was asked for")]
    Compressed,
    /// Larger than allowed.
    #[error("the file is larger than {limit} bytes, the limit for a file")]
    TooLarge {
        /// [`super::Limits::bytes_max`].
        limit: u64,
    },
    /// The answer broke off.
    #[error("the file broke off after {bytes} bytes{}", of_announced(*announced))]
    Truncated {
        /// What came.
        bytes: u64,
        /// What the server had announced.
        announced: Option<u64>,
    },
    /// What came could not be kept.
    #[error("the file could not be kept here ({0})")]
    Write(#[source] io::Error),
}

/// What is wrong with the proof that a server gives of itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// Signed by nobody who is trusted.
    #[error("its certificate is signed by an authority that is not trusted here")]
    UnknownIssuer,
    /// The time of the certificate is over.
    #[error("its certificate has expired")]
    Expired,
    /// The time of the certificate has not come.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// The certificate is for another host.
    #[error("its certificate is for another name")]
    WrongName,
    /// The certificate was revoked.
    #[error("its certificate was revoked")]
    Revoked,
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl Fault {
    /// Whether the same request may succeed in a while, without anybody changing a setting.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::UnknownHost { .. }
            | Self::Unreachable { .. }
            | Self::ConnectTimeout { .. }
            | Self::NoAnswer { .. }
            | Self::Silent { .. }
            | Self::TooSlow { .. }
            | Self::Busy { .. }
            | Self::ServerError { .. }
            | Self::Truncated { .. } => true,
            Self::AddressRefused { .. }
            | Self::CaFile { .. }
            | Self::Trust { .. }
            | Self::Tls(_)
            | Self::RedirectedElsewhere { .. }
            | Self::RedirectedUnsafely { .. }
            | Self::RedirectUnreadable
            | Self::TooManyRedirects
            | Self::PasswordWanted
            | Self::PasswordRefused
            | Self::Forbidden
            | Self::NotFound
            | Self::Gone
            | Self::Status { .. }
            | Self::Compressed
            | Self::TooLarge { .. }
            | Self::Write(_) => false,
        }
    }

    /// What to do about it, as an order to whom it concerns.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownHost { .. } => "check the spelling of the host and the name service",
            Self::AddressRefused { .. } => {
                "use a public address, or have the operator of this server allow the network"
            }
            Self::CaFile { .. } => {
                "have the operator of this server name a readable PEM file with certificates in it"
            }
            Self::Trust { .. } => {
                "have the operator of this server install the CA certificates of the system, or \
                 name a PEM file of authorities"
            }
            Self::Unreachable { .. } | Self::ConnectTimeout { .. } => {
                "check host and port, and whether a firewall lets this server through"
            }
            Self::Tls(fault) => fault.remedy(),
            Self::NoAnswer { .. } => "check whether this port speaks https, and try again",
            Self::Silent { .. } | Self::TooSlow { .. } => {
                "find out why the server is slow, and try again"
            }
            Self::RedirectedElsewhere { .. } => {
                "enter the address that the file is really at, with the password that belongs there"
            }
            Self::RedirectedUnsafely { .. } => "have the file offered over https",
            Self::RedirectUnreadable | Self::TooManyRedirects => {
                "enter the address that the file is really at, or have the server mended"
            }
            Self::PasswordWanted => "enter a user name and a password that may read the file",
            Self::PasswordRefused => "enter the user name and the password again",
            Self::Forbidden => "have the user allowed to read the file on that server",
            Self::NotFound | Self::Gone => "check the path, and whether the file is still made",
            Self::Busy { .. } => "try again later, or fetch less often",
            Self::ServerError { .. } => "try again later; if it stays, tell who runs that server",
            Self::Status { .. } => "check that the address is that of the file itself",
            Self::Compressed => "have the server send the file as it is, without Content-Encoding",
            Self::TooLarge { .. } => {
                "make the file smaller, or have the operator of this server raise the limit"
            }
            Self::Truncated { .. } => "try again; if it stays, tell who runs that server",
            Self::Write(_) => "have the operator of this server look at its disk",
        }
    }

    /// What a request that got no answer died of.
    pub(super) fn of_request(error: &reqwest::Error, connect_limit: Duration) -> Self {
        if let Some(tls) = tls_fault(error) {
            return Self::Tls(tls);
        }
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => Self::ConnectTimeout { limit: connect_limit },
            (true, false) => Self::Unreachable { reason: root(error) },
            (false, _) => Self::NoAnswer { reason: root(error) },
        }
    }

    /// What an attempt at TLS died of.
    pub(super) fn of_tls(error: &io::Error) -> Self {
        tls_fault(error).map_or_else(|| Self::Unreachable { reason: root(error) }, Self::Tls)
    }
}

impl TlsFault {
    fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownIssuer => {
                "have the operator of this server trust the authority, or use a certificate of a \
                 public one"
            }
            Self::Expired => "have the certificate of that server renewed",
            Self::NotYetValid => "check the clocks of both servers and the certificate",
            Self::WrongName => "enter the name that the certificate is for, or have it corrected",
            Self::Revoked => "have that server given a new certificate",
            Self::Other(_) => "check that this port speaks TLS 1.2 or 1.3 with a good certificate",
        }
    }

    fn of(error: &rustls::Error) -> Self {
        let rustls::Error::InvalidCertificate(fault) = error else {
            return Self::Other(error.to_string());
        };
        match fault {
            // An authority that was made anew under its old name has another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::Revoked => Self::Revoked,
            _ => Self::Other(error.to_string()),
        }
    }
}

fn of_announced(announced: Option<u64>) -> String {
    announced.map_or_else(String::new, |announced| format!(" of {announced}"))
}

/// The causes of an error, from the outermost in. An [`io::Error`] hides the error that it is made of
/// from `source`.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn Error + 'static)| {
        let error: &'e (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(within) => Some(within),
            None => error.source(),
        }
    })
}

fn tls_fault(error: &(dyn Error + 'static)) -> Option<TlsFault> {
    causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()).map(TlsFault::of)
}

/// The innermost cause; the ones around it only repeat what the fault says, or quote the address.
fn root(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .last()
        .filter(|cause| !cause.is::<reqwest::Error>())
        .map_or_else(|| "for no known reason".to_owned(), ToString::to_string)
}
