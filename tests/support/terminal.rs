//! A terminal, and the person who sits at it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    In,
    Out,
    Err,
}

/// The side of a terminal on which the person sits.
pub struct Terminal {
    device: File,
}

impl Terminal {
    pub(super) fn open() -> (Self, OwnedFd) {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let device = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::io::fcntl_setfd(&device, rustix::io::FdFlags::CLOEXEC).unwrap();
        grantpt(&device).unwrap();
        unlockpt(&device).unwrap();
        let name = ptsname(&device, Vec::new()).unwrap();
        let user = File::options()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32)
            .open(OsStr::new(name.to_str().unwrap()))
            .unwrap();
        (Terminal { device: device.into() }, user.into())
    }

    /// Makes it so many columns wide.
    pub fn resize(&self, columns: u16) {
        self.resize_to(columns, 50);
    }

    /// Makes it so many columns wide and so many rows high.
    pub fn resize_to(&self, columns: u16, rows: u16) {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.device, size).unwrap();
    }

    /// Reads until `text` was shown.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let mut shown = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&shown).contains(text) {
            match self.device.read(&mut byte) {
                Ok(1..) => shown.push(byte[0]),
                _ => panic!("the terminal never shows {text:?}: {}", String::from_utf8_lossy(&shown)),
            }
        }
        String::from_utf8(shown).unwrap()
    }

    /// Reads until `text` was shown, or nobody has the terminal open any more.
    pub fn wait_for_or_end(&mut self, text: &str) -> String {
        let mut shown = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&shown).contains(text) {
            match self.device.read(&mut byte) {
                Ok(1..) => shown.push(byte[0]),
                _ => break,
            }
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        self.device.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until nobody has the terminal open any more.
    pub fn rest(mut self) -> String {
        let mut shown = Vec::new();
        let _ = self.device.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    }
}
