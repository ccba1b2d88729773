//! Reads as the deployed PHP clients do (protocol.md 6), and so loses what they lose.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::frame;

/// Plain TCP with the stream buffer of PHP.
pub(crate) struct PhpStream {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl PhpStream {
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.expect("a socket");
        // So much that a test that is not scheduled for a while does not stall the server.
        socket.set_recv_buffer_size(4 << 20).expect("SO_RCVBUF");
        socket.connect(&address.into()).expect("the server accepts");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// `fread($s, $length)`: what the buffer holds, and if that is not enough one chunk of at most
    /// 8192 bytes from the socket.
    #[track_caller]
    pub(crate) fn fread(&mut self, length: usize) -> Vec<u8> {
        let mut result = Vec::new();
        self.take(length, &mut result);
        if result.len() < length {
            let mut chunk = [0; 8192];
            let count = self.stream.read(&mut chunk).expect("something to read");
            self.buffer.extend(&chunk[..count]);
            self.take(length, &mut result);
        }
        result
    }

    fn take(&mut self, length: usize, result: &mut Vec<u8>) {
        let count = (length - result.len()).min(self.buffer.len());
        result.extend(self.buffer.drain(..count));
    }

    /// The client's `readSocket`: the first frame of what a read returned; for a frame longer than
    /// that it reads on in steps of 8192 bytes. What is behind the frame is thrown away.
    #[track_caller]
    pub(crate) fn read_message(&mut self, length: usize) -> String {
        let mut bytes = self.fread(length);
        loop {
            if let Some(frame) = frame::read(&bytes) {
                let text = String::from_utf8(frame.payload).expect("text is UTF-8");
                return text.trim_end_matches(' ').to_owned();
            }
            let more = self.fread(8192);
            assert!(!more.is_empty(), "the stream ends inside a frame");
            bytes.extend(more);
        }
    }
}
