//! The socket's place in the file system.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::net::UnixListener;

/// Listens on a Unix socket at `path`, replacing whatever socket is there, without a moment at which there is none.
///
/// The socket is bound under a temporary name in the same directory, gets the permission bits `mode`, and is renamed. Nothing
/// ever unlinks it: another server may have taken its place. The directory must exist, belong to the server and hold nothing
/// else of Kong's (Kong's image deletes sockets in its own prefix). Kong's workers need write permission on the socket.
pub fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket's path has no file name",
        )
    })?;
    let mut temporary = name.to_os_string();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(temporary);
    // Left by a process of the same id that died between the two steps.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&temporary)?;
    let placed = fs::set_permissions(&temporary, Permissions::from_mode(mode))
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = placed {
        // The error that matters is the first one.
        drop(fs::remove_file(&temporary));
        return Err(error);
    }
    Ok(listener)
}
