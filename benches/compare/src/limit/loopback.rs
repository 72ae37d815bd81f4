//! How many bytes the loopback carries in one TCP connection, and how many a copy in memory.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const PIECE_LEN_BYTES: usize = 256 * 1024;
const COPY_LEN_BYTES: usize = 256 << 20;

/// Bytes a second through one connection.
pub fn loopback(time: Duration) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let reading = std::thread::spawn(move || -> Result<u64> {
        let mut stream = listener.accept()?.0;
        let mut piece = vec![0; PIECE_LEN_BYTES];
        let mut total = 0;
        loop {
            match stream.read(&mut piece)? {
                0 => return Ok(total),
                read => total += read as u64,
            }
        }
    });
    let mut stream = TcpStream::connect(address)?;
    let piece = vec![0x5a; PIECE_LEN_BYTES];
    let began = Instant::now();
    while began.elapsed() < time {
        stream.write_all(&piece)?;
    }
    drop(stream);
    let total = reading.join().ok().context("the reader failed")??;
    Ok(total as f64 / began.elapsed().as_secs_f64())
}

/// Bytes a second from one large piece of memory to another.
pub fn copy(time: Duration) -> f64 {
    let from = vec![0x5a_u8; COPY_LEN_BYTES];
    let mut to = vec![0_u8; COPY_LEN_BYTES];
    let (began, mut copies) = (Instant::now(), 0_u32);
    while copies == 0 || began.elapsed() < time {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        copies += 1;
    }
    f64::from(copies) * COPY_LEN_BYTES as f64 / began.elapsed().as_secs_f64()
}
