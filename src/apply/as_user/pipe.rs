//! A line to the child and a line back, each in bounded time: the user may stop the child, or its home
//! directory may hang.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{ChildStdin, ChildStdout};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

#[derive(Debug)]
pub(super) struct Pipe {
    input: ChildStdin,
    output: ChildStdout,
    limit_bytes: u64,
}

impl Pipe {
    /// A pipe on which no answer is longer than this.
    pub(super) fn new(input: ChildStdin, output: ChildStdout, limit_bytes: u64) -> io::Result<Pipe> {
        for fd in [input.as_fd(), output.as_fd()] {
            let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
            fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        Ok(Pipe { input, output, limit_bytes })
    }

    /// Sends a line and returns the line that answers it.
    pub(super) fn exchange(&mut self, mut line: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
        while !line.is_empty() {
            match self.input.write(line) {
                Ok(written) => line = &line[written..],
                Err(error) => self.again(error, PollFlags::POLLOUT, deadline)?,
            }
        }
        let mut answer = Vec::new();
        let mut buffer = [0; 16 << 10];
        loop {
            match self.output.read(&mut buffer) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its process has ended")),
                Ok(read) => answer.extend_from_slice(&buffer[..read]),
                Err(error) => self.again(error, PollFlags::POLLIN, deadline)?,
            }
            if answer.last() == Some(&b'\n') {
                return Ok(answer);
            }
            if answer.len() as u64 > self.limit_bytes {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its process does not stop talking"));
            }
        }
    }

    /// Waits where the pipe is full or empty; returns any other error.
    fn again(&self, error: io::Error, what: PollFlags, deadline: Instant) -> io::Result<()> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock if what == PollFlags::POLLIN => {
                wait(self.output.as_fd(), what, deadline)
            }
            io::ErrorKind::WouldBlock => wait(self.input.as_fd(), what, deadline),
            _ => Err(error),
        }
    }
}

fn wait(fd: BorrowedFd<'_>, what: PollFlags, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(fd, what)], timeout) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "its process did not answer in time")),
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
