//! A web service that makes PDFs, and stays quick while it does.
//!
//! Its handlers wait for a pool of processes, and nothing heavy runs where they do. A document that brings the converter
//! down, or keeps it busy for ever, is an answer to its own request and to no other: the worker is replaced.
//!
//! The example starts the service, asks it how it is while documents are converted, and sends it two bad ones.
//!
//! ```sh
//! cargo run --release --features process --example pdf_service
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, Str};
use raincheck::{Executor, ProcessPool, TaskError};

const LINES_A_PAGE: usize = 50;

/// Sets a text, a page for each fifty lines. Some texts are too much for it, as there are for every converter.
#[raincheck::task]
fn convert(text: String) -> Vec<u8> {
    match text.as_str() {
        "a text that crashes it" => std::process::abort(),
        "a text that has no end" => loop {
            thread::park();
        },
        _ => {}
    }
    let lines: Vec<&str> = text.lines().collect();
    let pages: Vec<&[&str]> = lines.chunks(LINES_A_PAGE).collect();
    let (catalog, tree, font) = (Ref::new(1), Ref::new(2), Ref::new(3));
    let page = |number: usize| Ref::new(4 + 2 * number as i32);
    let words = |number: usize| Ref::new(5 + 2 * number as i32);

    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree).kids((0..pages.len()).map(page)).count(pages.len() as i32);
    pdf.type1_font(font).base_font(Name(b"Courier"));
    for (number, lines) in pages.iter().enumerate() {
        let mut writer = pdf.page(page(number));
        writer.media_box(Rect::new(0.0, 0.0, 595.0, 842.0)).parent(tree).contents(words(number));
        writer.resources().fonts().pair(Name(b"F"), font);
        writer.finish();
        let mut content = Content::new();
        content.begin_text().set_font(Name(b"F"), 10.0).next_line(50.0, 800.0);
        for line in *lines {
            content.show(Str(line.as_bytes())).next_line(0.0, -14.0);
        }
        content.end_text();
        pdf.stream(words(number), &content.finish());
    }
    pdf.finish()
}

/// Answers with the document, or says what became of the converter.
async fn pdf(State(converters): State<Arc<ProcessPool>>, text: String) -> Response {
    match converters.submit(convert::call(text)).await {
        Ok(document) => ([("content-type", "application/pdf")], document).into_response(),
        Err(error @ TaskError::TimedOut { .. }) => (StatusCode::GATEWAY_TIMEOUT, error.to_string()).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let converters = ProcessPool::builder().workers(1).time_limit(Duration::from_secs(3)).build();
    let service =
        Router::new().route("/health", get(async || "well")).route("/pdf", post(pdf)).with_state(Arc::new(converters));
    let runtime = tokio::runtime::Runtime::new()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0)))?;
    let address = listener.local_addr()?;
    runtime.spawn(async { axum::serve(listener, service).await });

    println!("idle:       /health answers in {:?} (the median of 200)", latency(address)?);
    let busy = thread::spawn(move || {
        let report = "The rain in Spain stays mainly in the plain.\n".repeat(40_000);
        (0..20).map(|_| ask(address, "POST /pdf", &report)).collect::<Result<Vec<_>, _>>()
    });
    println!("converting: /health answers in {:?}", latency(address)?);
    let documents = busy.join().expect("whoever asks does not panic")?;
    let (_, first) = &documents[0];
    let good = documents.iter().filter(|(status, document)| *status == 200 && document == first).count();
    println!("{good} documents of {} kB each", first.len() / 1000);

    for text in ["a text that crashes it", "a text that has no end", "a text that is none the worse"] {
        let (status, answer) = ask(address, "POST /pdf", text)?;
        let shown = if status == 200 { format!("{} bytes", answer.len()) } else { String::from_utf8(answer)? };
        println!("{text}: {status}, {shown}");
    }
    Ok(())
}

/// How long the service takes to say how it is.
fn latency(address: SocketAddr) -> io::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        ask(address, "GET /health", "")?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Asks, and returns the status and the body.
fn ask(address: SocketAddr, what: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    let head =
        format!("{what} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(answer.len() - 4);
    let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.unwrap_or(0), answer.split_off(end + 4)))
}
