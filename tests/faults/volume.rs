//! A file system of our own in a file, mounted by a loop device: its power can be cut, and it can
//! be full.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
}

/// A mounted file system. It is taken down with everything on it in the end.
#[derive(Debug)]
pub(crate) struct Volume {
    image: PathBuf,
    mounted: PathBuf,
}

impl Volume {
    /// Makes one of so many bytes in a folder.
    pub(crate) fn make(kind: Kind, folder: &Path, bytes: u64) -> Result<Self, String> {
        let (image, mounted) = (folder.join("image"), folder.join("volume"));
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(bytes).map_err(|error| error.to_string())?;
        fs::create_dir_all(&mounted).map_err(|error| error.to_string())?;
        let volume = Self { image, mounted };
        match kind {
            Kind::Ext4 => done(
                Command::new("mkfs.ext4")
                    .args(["-q", "-F"])
                    .arg(&volume.image),
            )?,
            Kind::Xfs => done(
                Command::new("mkfs.xfs")
                    .args(["-q", "-f"])
                    .arg(&volume.image),
            )?,
        }
        volume.mount()?;
        Ok(volume)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        &self.mounted
    }

    fn mount(&self) -> Result<(), String> {
        let mut mount = Command::new("mount");
        done(
            mount
                .args(["-o", "loop"])
                .arg(&self.image)
                .arg(&self.mounted),
        )
    }

    /// Mounts it again, so that nobody can write to it.
    pub(crate) fn for_reading_only(self) -> Result<Self, String> {
        self.unmount()?;
        let mut mount = Command::new("mount");
        done(
            mount
                .args(["-o", "loop,ro"])
                .arg(&self.image)
                .arg(&self.mounted),
        )?;
        Ok(self)
    }

    /// The file that holds it.
    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    fn unmount(&self) -> Result<(), String> {
        done(Command::new("umount").arg(&self.mounted))
    }

    /// Cuts the power: what was not synced is gone, and until [`Self::restore`] every call fails.
    pub(crate) fn cut(&self) -> Result<(), String> {
        let mut shutdown = Command::new("xfs_io");
        done(shutdown.args(["-x", "-c", "shutdown"]).arg(&self.mounted))
    }

    /// Mounts it again, with what a disk would have kept. Nobody may have a file of it open.
    pub(crate) fn restore(&self) -> Result<(), String> {
        self.unmount()?;
        self.mount()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("{}: {error}", self.mounted.display());
        }
    }
}

fn done(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command:?}: {}: {said}", output.status))
        }
    }
}
