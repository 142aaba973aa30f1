//! Where a file is, and as whom to ask for it.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::keys::vault::Secret;

/// The bytes that an address may have.
pub const URL_BYTES_MAX: usize = 2_048;

/// The bytes that a user name may have.
pub const USER_BYTES_MAX: usize = 255;

/// The bytes that a password may have.
pub const PASSWORD_BYTES_MAX: usize = 1_024;

/// A file at an https address, with the user name and the password that it takes to read it.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    pub(super) url: Url,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
}

/// Why an address is refused. No message quotes what was entered: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Longer than [`URL_BYTES_MAX`].
    #[error("the address is longer than {URL_BYTES_MAX} bytes; use a shorter one")]
    TooLong,
    /// Not an address at all.
    #[error("this is not an address; write it whole, as in https://files.example.org/people.csv")]
    Unreadable,
    /// Blanks or control characters.
    #[error(
        "the address has a blank or a control character in it; write it as %20 or leave it out"
    )]
    Blank,
    /// Another scheme than https.
    #[error("the address does not begin with https://; people's data is fetched over https only")]
    NotHttps,
    /// A user name or a password before the host.
    #[error("the address has a user name in it; leave it out and enter user and password apart")]
    UserInfo,
    /// Something after a number sign.
    #[error("the address has a # in it; leave out the # and what follows, servers never see it")]
    Fragment,
    /// A user name that cannot be sent.
    #[error(
        "the user name is empty, longer than {USER_BYTES_MAX} bytes, or has a colon or a control \
         character in it; basic authentication cannot send it"
    )]
    User,
    /// A password that cannot be sent.
    #[error(
        "the password is longer than {PASSWORD_BYTES_MAX} bytes or has a control character in it; \
         basic authentication cannot send it"
    )]
    Password,
    /// A password for nobody.
    #[error("there is a password but no user name; enter the user name that it belongs to")]
    PasswordAlone,
}

impl Remote {
    /// Checks what an administrator entered.
    ///
    /// Only the form is looked at here; whether the host may be reached is known when it is.
    pub fn parse(
        url: &str,
        user: Option<String>,
        password: Option<Secret>,
    ) -> Result<Self, AddressError> {
        if url.len() > URL_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        // The parser would silently take these out.
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(AddressError::Blank);
        }
        let url = Url::parse(url).map_err(|_| AddressError::Unreadable)?;
        if url.scheme() != "https" {
            return Err(AddressError::NotHttps);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(AddressError::Fragment);
        }
        let unsendable =
            |text: &str, bytes_max| text.len() > bytes_max || text.chars().any(char::is_control);
        if user.as_deref().is_some_and(|user| {
            user.is_empty() || user.contains(':') || unsendable(user, USER_BYTES_MAX)
        }) {
            return Err(AddressError::User);
        }
        if let Some(password) = &password {
            if user.is_none() {
                return Err(AddressError::PasswordAlone);
            }
            if unsendable(password.expose(), PASSWORD_BYTES_MAX) {
                return Err(AddressError::Password);
            }
        }
        Ok(Self { url, user, password })
    }

    /// The whole address, for who keeps it. Its query may hold a token: show [`Remote::shown`].
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The user name to ask with.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password to ask with.
    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The address as people may see it: scheme, host, port and path, without the query.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("https://{}{}", place(&self.url), self.url.path())
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("url", &self.shown()).finish_non_exhaustive()
    }
}

/// Host and port of an address, as in `files.example.org:8443`; the port only if it is written.
pub(super) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The host of an address without the brackets of an IPv6 address, and the address if it is one.
pub(super) fn host(url: &Url) -> (&str, Option<IpAddr>) {
    let host = url.host_str().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    (bare, bare.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_before_anything_is_asked() {
        use AddressError::{Blank, Fragment, NotHttps, TooLong, Unreadable, UserInfo};
        let long = format!("https://example.org/{}", "a".repeat(URL_BYTES_MAX));
        let cases = [
            ("https://example.org/people.csv", Ok("https://example.org/people.csv")),
            ("HTTPS://Example.ORG:443/a?token=1", Ok("https://example.org/a")),
            ("https://example.org:8443", Ok("https://example.org:8443/")),
            ("https://[2001:db8::1]:1/x", Ok("https://[2001:db8::1]:1/x")),
            ("https://0x7f.1/x", Ok("https://127.0.0.1/x")),
            ("http://example.org/people.csv", Err(NotHttps)),
            ("ftp://example.org/people.csv", Err(NotHttps)),
            ("file:///etc/passwd", Err(NotHttps)),
            ("people.csv", Err(Unreadable)),
            ("https://", Err(Unreadable)),
            ("", Err(Unreadable)),
            ("https://me:canary@example.org/", Err(UserInfo)),
            ("https://me@example.org/", Err(UserInfo)),
            ("https://:canary@example.org/", Err(UserInfo)),
            ("https://example.org/#part", Err(Fragment)),
            ("https://example.org/a b", Err(Blank)),
            (" https://example.org/", Err(Blank)),
            ("https://exam\tple.org/", Err(Blank)),
            (&long, Err(TooLong)),
        ];
        for (entered, outcome) in cases {
            let parsed = Remote::parse(entered, None, None).map(|remote| remote.shown());
            assert_eq!(parsed, outcome.map(str::to_owned), "{entered}");
        }
    }

    #[test]
    fn a_user_and_a_password_can_be_sent_or_are_refused() {
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        let cases = [
            (None, None, Ok(())),
            (Some("me"), None, Ok(())),
            (Some("me"), Some(""), Ok(())),
            (Some("me"), Some("pass:word \u{e9}"), Ok(())),
            (Some(""), None, Err(AddressError::User)),
            (Some("a:b"), None, Err(AddressError::User)),
            (Some("a\nb"), None, Err(AddressError::User)),
            (None, Some("x"), Err(AddressError::PasswordAlone)),
            (Some("me"), Some("a\0b"), Err(AddressError::Password)),
            (Some("me"), Some(long.as_str()), Err(AddressError::Password)),
        ];
        for (user, password, outcome) in cases {
            let secret = password.map(|text| Secret::new(text.to_owned()));
            let parsed = Remote::parse("https://example.org/", user.map(str::to_owned), secret);
            assert_eq!(parsed.map(|_| ()), outcome, "{user:?} {password:?}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let secret = Secret::new("canary".to_owned());
        let url = "https://example.org/a?token=canary";
        let remote = Remote::parse(url, Some("me".to_owned()), Some(secret)).unwrap();
        assert!(
            !format!("{remote:?} {:?} {}", remote.password(), remote.shown()).contains("canary")
        );
        assert_eq!(remote.url(), url);
    }
}
