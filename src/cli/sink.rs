//! Where an export goes: the standard output or a file, compressed if its name says so.
//!
//! A file appears under its name only when it is whole; until then it has `.partial` behind it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;

use super::failure::{Exit, Failure};

const BUFFER_LEN_BYTES: usize = 256 * 1024;

/// A place for bytes.
pub(super) struct Sink {
    writer: Writer,
    /// The file under its final name.
    file: Option<PathBuf>,
}

enum Writer {
    Stdout(BufWriter<io::Stdout>),
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

fn partial(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

impl Sink {
    /// Opens the standard output for `-`, and else a file.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let stdout = BufWriter::with_capacity(BUFFER_LEN_BYTES, io::stdout());
            return Ok(Self {
                writer: Writer::Stdout(stdout),
                file: None,
            });
        }
        let failed = |error| {
            Failure::new(
                Exit::Failure,
                format!("cannot write {}: {error}", path.display()),
            )
        };
        let file = File::create(partial(path)).map_err(failed)?;
        let plain = BufWriter::with_capacity(BUFFER_LEN_BYTES, file);
        let writer = match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Writer::Gzip(GzEncoder::new(plain, flate2::Compression::default())),
            Some("zst") => Writer::Zstd(zstd::Encoder::new(plain, ZSTD_LEVEL).map_err(failed)?),
            _ => Writer::Plain(plain),
        };
        Ok(Self {
            writer,
            file: Some(path.to_owned()),
        })
    }

    /// Ends the compression, and gives the file its name.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let file = match self.writer {
            Writer::Stdout(mut out) => return Ok(out.flush()?),
            Writer::Plain(out) => out,
            Writer::Gzip(out) => out.finish()?,
            Writer::Zstd(out) => out.finish()?,
        };
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        match self.file {
            Some(name) => Ok(std::fs::rename(partial(&name), &name)?),
            None => Ok(()),
        }
    }
}

const ZSTD_LEVEL: i32 = 3;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Writer::Stdout(out) => out.write(bytes),
            Writer::Plain(out) => out.write(bytes),
            Writer::Gzip(out) => out.write(bytes),
            Writer::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::Stdout(out) => out.flush(),
            Writer::Plain(out) => out.flush(),
            Writer::Gzip(out) => out.flush(),
            Writer::Zstd(out) => out.flush(),
        }
    }
}
