//! Where the admin listener listens, and who is at the other end.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::net::{TcpListener, UnixListener};

/// Before a Unix socket's path in `admin.listen`.
const UNIX: &str = "unix:";
/// Whoever may write to the socket may change counters.
const SOCKET_MODE: u32 = 0o600;
/// Of the directory in which a socket waits until it has its mode.
const PRIVATE_MODE: u32 = 0o700;

/// An address to listen on: `127.0.0.1:9000`, or `unix:/run/llm-plugins/admin.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// Over the network.
    Tcp(SocketAddr),
    /// A Unix socket; the path is absolute.
    Unix(PathBuf),
}

/// A text that is no such address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address such as 127.0.0.1:9000 or unix:/run/llm-plugins/admin.sock")]
pub struct InvalidAddress;

impl ListenAddress {
    /// Whether other machines can reach it.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::Tcp(address) if !address.ip().is_loopback())
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(UNIX) {
            Some(path) if path.starts_with('/') && !path.ends_with('/') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(InvalidAddress),
            None => text.parse().map(Self::Tcp).map_err(|_| InvalidAddress),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A listener that is up.
#[derive(Debug)]
pub enum Listener {
    /// Over the network.
    Tcp(TcpListener),
    /// On a Unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Listens on `address`.
    ///
    /// A Unix socket gets mode 0600 before it has its name, and takes the place of a socket that is there in one step: a server that
    /// takes over leaves no moment without one. Anything else that is there stays, and is an error.
    pub async fn bind(address: &ListenAddress) -> io::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            ListenAddress::Unix(path) => bind_socket(path).map(Self::Unix),
        }
    }

    /// Where it really listens: with port 0, the port that it got.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(listener) => {
                // The socket was bound elsewhere and moved; its own name says where, not what it is called now.
                let bound = listener.local_addr()?;
                let path = bound.as_pathname().and_then(Path::parent);
                Ok(ListenAddress::Unix(
                    path.map(final_place).unwrap_or_default(),
                ))
            }
        }
    }

    pub(super) async fn serve(self, routes: Router) -> io::Result<()> {
        let service = routes.into_make_service_with_connect_info::<Peer>();
        match self {
            Self::Tcp(listener) => axum::serve(listener, service).await,
            Self::Unix(listener) => axum::serve(listener, service).await,
        }
    }
}

/// The end of the private directory's name; the process' id follows.
const PRIVATE: &str = ".new-";

/// The private directory of a socket, as a name of the final place: see [`final_place`].
fn private_place(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("{PRIVATE}{}", std::process::id()));
    name.into()
}

fn final_place(private: &Path) -> PathBuf {
    let name = private.to_string_lossy();
    name.rsplit_once(PRIVATE)
        .map_or_else(|| private.to_owned(), |(path, _)| path.into())
}

fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something that is not a socket is there",
            ));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let private = private_place(path);
    let waiting = private.join("s");
    // Left by a process of the same id that died on the way.
    drop(fs::remove_file(&waiting));
    drop(fs::remove_dir(&private));
    DirBuilder::new().mode(PRIVATE_MODE).create(&private)?;
    let bound = UnixListener::bind(&waiting).and_then(|listener| {
        fs::set_permissions(&waiting, Permissions::from_mode(SOCKET_MODE))?;
        fs::rename(&waiting, path)?;
        Ok(listener)
    });
    // The error that matters is that of the binding.
    drop(fs::remove_file(&waiting));
    drop(fs::remove_dir(&private));
    bound
}

/// Who is at the other end of a connection, for the audit log.
#[derive(Debug, Clone)]
pub(super) struct Peer(String);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(stream.remote_addr().to_string())
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(match stream.io().peer_cred() {
            Ok(who) => match who.pid() {
                Some(pid) => format!("uid {} pid {pid}", who.uid()),
                None => format!("uid {}", who.uid()),
            },
            Err(_) => "unix socket".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_address_or_an_absolute_path() {
        for text in ["127.0.0.1:9000", "[::1]:0", "0.0.0.0:1", "unix:/run/a.sock"] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_public(), text.starts_with("0.0"));
        }
        for text in ["", "localhost", "unix:", "unix:a.sock", "unix:/run/", ":9"] {
            assert_eq!(text.parse::<ListenAddress>(), Err(InvalidAddress), "{text}");
        }
    }

    #[tokio::test]
    async fn a_socket_is_private_and_replaces_only_a_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let address = ListenAddress::Unix(path.clone());
        let first = Listener::bind(&address).await.unwrap();
        let _second = Listener::bind(&address).await.unwrap();
        assert_eq!(first.address().unwrap(), address);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(Listener::bind(&address).await.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
