//! The bytes of a state file: a header line, then records.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use token_limiter::{CounterRecord, InvalidRecord};

use super::MODE;

/// What every version's file begins with.
const MAGIC: &[u8] = b"llm-plugin-server state ";
/// The first line. The number stands for the records too: another version of theirs is another here.
const HEADER: &[u8] = b"llm-plugin-server state 1\n";
/// Bytes that are written or read at a time.
const CHUNK: usize = 256 * 1024;

/// What a file begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// This version's header.
    Ours,
    /// Nothing: the file is empty.
    Absent,
    /// Another version's header.
    AnotherVersion,
    /// Something else.
    NotOurs,
}

impl Header {
    /// Takes it off the front of `file`.
    pub(super) fn read(file: &mut impl Read) -> io::Result<Self> {
        let mut head = Vec::new();
        file.take(HEADER.len() as u64).read_to_end(&mut head)?;
        Ok(match &head[..] {
            [] => Self::Absent,
            HEADER => Self::Ours,
            head if head.starts_with(MAGIC) => Self::AnotherVersion,
            _ => Self::NotOurs,
        })
    }
}

/// A file that records are appended to.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// The device's number, and the file's on it.
    identity: (u64, u64),
    unwritten: Vec<u8>,
    /// The file's, in bytes.
    length: u64,
    is_synced: bool,
}

impl Log {
    /// A new file in place of any at `path`.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(MODE)
            .open(path)?;
        Ok(Self {
            identity: identity(&file.metadata()?),
            file,
            unwritten: HEADER.to_owned(),
            length: 0,
            is_synced: false,
        })
    }

    /// Bytes that are in the file.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Whether `path` still names this file, as it was written.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        fs::metadata(path)
            .is_ok_and(|named| identity(&named) == self.identity && named.len() == self.length)
    }

    /// Adds a record: at once or with the next ones. True if a chunk was written.
    pub(super) fn put(&mut self, record: &CounterRecord) -> io::Result<bool> {
        record.encode(&mut self.unwritten);
        let is_full = self.unwritten.len() >= CHUNK;
        if is_full {
            self.write()?;
        }
        Ok(is_full)
    }

    /// Writes what was added, and waits until the disk has it.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        if !self.is_synced {
            self.file.sync_data()?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Puts the file, which is at `temporary`, in the place of any at `path`.
    pub(super) fn publish(&mut self, temporary: &Path, path: &Path) -> io::Result<()> {
        self.write()?;
        self.file.sync_all()?;
        self.is_synced = true;
        fs::rename(temporary, path)?;
        // The names are the directory's to keep.
        let directory = path.parent().filter(|parent| parent != &Path::new(""));
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn write(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.unwritten)?;
        self.length += self.unwritten.len() as u64;
        self.unwritten.clear();
        self.is_synced = false;
        Ok(())
    }

    /// Lets every write to the file fail as on a full disk.
    #[cfg(test)]
    pub(super) fn fill_disk(&mut self) {
        self.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// The records of a file after its header, until its end or the first that is damaged.
#[derive(Debug)]
pub(super) struct Records<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where the next record begins in the buffer.
    start: usize,
    kept: u64,
    /// Bytes of the file that were good.
    bytes: u64,
    end: Option<io::Result<Option<InvalidRecord>>>,
}

impl<R: Read> Records<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            start: 0,
            kept: 0,
            bytes: HEADER.len() as u64,
            end: None,
        }
    }

    /// Records so far.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// The bytes of the header and of the records so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How they ended: with the file, with damage, or because it could not be read.
    pub(super) fn end(self) -> io::Result<Option<InvalidRecord>> {
        self.end.unwrap_or(Ok(None))
    }

    /// Reads on; false at the file's end.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let read = (&mut self.source)
            .take(CHUNK as u64)
            .read_to_end(&mut self.buffer)?;
        Ok(read > 0)
    }
}

impl<R: Read> Iterator for Records<R> {
    type Item = CounterRecord;

    fn next(&mut self) -> Option<CounterRecord> {
        while self.end.is_none() {
            let before = &self.buffer[self.start..];
            let mut rest = before;
            let problem = match CounterRecord::decode(&mut rest) {
                Ok(Some(record)) => {
                    let length = before.len() - rest.len();
                    self.start += length;
                    self.bytes += length as u64;
                    self.kept += 1;
                    return Some(record);
                }
                Ok(None) => None,
                Err(problem) => Some(problem),
            };
            self.end = match problem {
                Some(InvalidRecord::Damaged) => Some(Ok(problem)),
                None | Some(InvalidRecord::Truncated) => match self.fill() {
                    Ok(true) => None,
                    Ok(false) => Some(Ok(problem)),
                    Err(error) => Some(Err(error)),
                },
            };
        }
        None
    }
}
