//! Host names and addresses as Kong reads them: a name, an IPv4 or an IPv6 address, with or without a port.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What a host string is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) kind: HostKind,
    /// The name or address, normalized; an IPv6 address is written in full, without brackets.
    pub(crate) name: String,
    pub(crate) port: Option<u16>,
}

/// Name or address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostKind {
    Ipv4,
    Ipv6,
    Name,
}

/// Why a string is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostError {
    Invalid,
    /// Only its port is wrong.
    Port,
}

impl Host {
    /// Reads `name`, `name:port`, `1.2.3.4[:port]`, `::1`, `[::1][:port]`.
    pub(crate) fn parse(text: &str) -> Result<Self, HostError> {
        if text.matches(':').count() > 1 {
            return Self::ipv6(text);
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port))
                if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                (host, Some(port.parse().map_err(|_| HostError::Port)?))
            }
            Some(_) => return Err(HostError::Invalid),
            None => (text, None),
        };
        if !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':'))
        {
            let address: Ipv4Addr = host.parse().map_err(|_| HostError::Invalid)?;
            return Ok(Self {
                kind: HostKind::Ipv4,
                name: address.to_string(),
                port,
            });
        }
        let labels: Vec<&str> = host.split('.').collect();
        let sound = |(index, label): (usize, &&str)| {
            label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
                && !label.ends_with('-')
                && (!label.is_empty() || (index > 0 && index + 1 == labels.len()))
        };
        if labels.iter().enumerate().all(sound) {
            Ok(Self {
                kind: HostKind::Name,
                name: host.to_owned(),
                port,
            })
        } else {
            Err(HostError::Invalid)
        }
    }

    fn ipv6(text: &str) -> Result<Self, HostError> {
        let (address, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, "")) => (address, None),
            Some((address, port)) => {
                let digits = port.strip_prefix(':').ok_or(HostError::Invalid)?;
                (address, Some(digits.parse().map_err(|_| HostError::Port)?))
            }
            None => (text, None),
        };
        let address: Ipv6Addr = address.parse().map_err(|_| HostError::Invalid)?;
        let name = address
            .segments()
            .map(|segment| format!("{segment:04x}"))
            .join(":");
        Ok(Self {
            kind: HostKind::Ipv6,
            name,
            port,
        })
    }

    /// `host:port`, the address in brackets where needed.
    pub(crate) fn with_port(&self, default: u16) -> String {
        let port = self.port.unwrap_or(default);
        match self.kind {
            HostKind::Ipv6 => format!("[{}]:{port}", self.name),
            HostKind::Ipv4 | HostKind::Name => format!("{}:{port}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        let parse = |text| Host::parse(text).map(|host| (host.kind, host.with_port(8000)));
        assert_eq!(
            parse("a.example"),
            Ok((HostKind::Name, "a.example:8000".to_owned()))
        );
        assert_eq!(
            parse("a.example:81"),
            Ok((HostKind::Name, "a.example:81".to_owned()))
        );
        assert_eq!(
            parse("127.0.0.1:81"),
            Ok((HostKind::Ipv4, "127.0.0.1:81".to_owned()))
        );
        assert_eq!(
            parse("[::1]:81"),
            Ok((
                HostKind::Ipv6,
                "[0000:0000:0000:0000:0000:0000:0000:0001]:81".to_owned()
            ))
        );
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            "bad host",
            "a..b",
            "-.",
            "a-.b",
            "1.2.3",
            "300.1.1.1",
            "a:b",
        ] {
            assert_eq!(Host::parse(text), Err(HostError::Invalid), "{text}");
        }
        assert_eq!(Host::parse("a:70000"), Err(HostError::Port));
    }
}
