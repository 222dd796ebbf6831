//! Asks for `/_ping` (Docker Engine API, "Ping"; podman: pkg/api/server, register_ping.go).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::probes::request::{Failure, Reply, Step};

/// How long the answer may take in all: the connection starts podman.service, which is slow on a small board.
const PATIENCE: Duration = Duration::from_secs(8);
/// The most that is read of an answer, in bytes; Podman's is some 400.
const LIMIT_BYTES: usize = 8192;
/// Version 1.0, so that the end of the answer is that of the connection.
const QUESTION: &[u8] = b"GET /_ping HTTP/1.0\r\nHost: edgeprep\r\n\r\n";

/// Asks, and says what is answered.
pub(super) fn ask(path: &str) -> Result<Reply, Failure> {
    let started = Instant::now();
    let mut stream = UnixStream::connect(path).map_err(|error| Step::Connect.failed_io(&error))?;
    let answer = exchange(&mut stream, started).map_err(|error| Step::Ping.failed_io(&error))?;
    let (status, is_podman) = parse(&answer).ok_or(Step::Ping.failed(nix::errno::Errno::EPROTO))?;
    Ok(Reply::Pong { status, is_podman })
}

fn exchange(stream: &mut UnixStream, started: Instant) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(QUESTION)?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while answer.len() < LIMIT_BYTES {
        let left = PATIENCE.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(io::Error::from_raw_os_error(nix::errno::Errno::ETIMEDOUT as i32));
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What a timeout is called on a socket (socket(7), SO_RCVTIMEO).
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::from_raw_os_error(nix::errno::Errno::ETIMEDOUT as i32));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// The code of an answer of HTTP, and whether it has the header that Podman's API sets on all of its answers.
fn parse(answer: &[u8]) -> Option<(u16, bool)> {
    let text = String::from_utf8_lossy(answer);
    let mut lines = text.lines().take_while(|line| !line.is_empty());
    let mut words = lines.next()?.split(' ');
    let status = words.next().filter(|word| word.starts_with("HTTP/")).and(words.next())?.parse().ok()?;
    let is_podman = |line: &str| {
        line.split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case("Libpod-API-Version"))
    };
    Some((status, lines.any(is_podman)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_told_from_noise() {
        let podman = b"HTTP/1.0 200 OK\r\nApi-Version: 1.41\r\nLibpod-Api-Version: 5.4.2\r\n\r\nOK";
        assert_eq!(parse(podman), Some((200, true)));
        assert_eq!(
            parse(b"HTTP/1.1 200 OK\r\nApi-Version: 1.47\r\n\r\nLibpod-API-Version: 1"),
            Some((200, false))
        );
        assert_eq!(parse(b"HTTP/1.0 500 Internal Server Error\r\n\r\n"), Some((500, false)));
        for noise in [&b""[..], b"SSH-2.0-OpenSSH_10.0\r\n", b"HTTP/1.0\r\n", b"HTTP/1.0 x\r\n", b"\xff"] {
            assert_eq!(parse(noise), None);
        }
    }

    proptest! {
        #[test]
        fn never_panics(answer in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&answer);
        }
    }
}
