//! The service behind the quickstart's proxy: answers each request with what arrived here, and prints it.
#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:18080".to_owned());
    let listener = TcpListener::bind(&address)?;
    println!("upstream: listening on http://{address}/");
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || {
            // A client that leaves is no fault of this program.
            let _ = serve(&connection);
        });
    }
    Ok(())
}

fn serve(connection: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(connection);
    while let Some(head) = read_head(&mut reader)? {
        let request = head.first().map_or("", String::as_str);
        let mut text = format!("the upstream received: {request}\n");
        for line in head.iter().skip(1).filter(|line| line.to_ascii_lowercase().starts_with("x-")) {
            text.push_str(&format!("  {line}\n"));
        }
        print!("upstream: {}", text.trim_start_matches("the upstream "));
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        (&mut &*connection).write_all(reply.as_bytes())?;
    }
    Ok(())
}

/// The lines of a request's head; `None` at the end of the connection.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Vec<String>>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => return Ok(Some(head)),
            line => head.push(line.to_owned()),
        }
    }
}
