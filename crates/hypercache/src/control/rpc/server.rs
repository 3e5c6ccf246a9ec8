//! The answering side of a control link.

use std::future::Future;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::super::link::Link;
use super::{Answer, Asker, OUTBOX_FRAMES_MAX, REQUESTS_MAX, Request, read_frame};

/// A link without a request for so long is closed; its dialer opens another when it needs one.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Answers the requests of a link by `serve`, each in a task of its own, until the link ends.
pub(in super::super) async fn serve_link<F, A>(link: Link, serve: F) -> io::Result<()>
where
    F: Fn(Asker, Request) -> A,
    A: Future<Output = Answer> + Send + 'static,
{
    let asker = Asker { node: link.node, incarnation: link.incarnation };
    let (reader, writer) = link.stream.into_split();
    let mut reader = BufReader::new(Cursor::new(link.early).chain(reader));
    let (outbox, inbox) = mpsc::channel(OUTBOX_FRAMES_MAX);
    let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
    let reading = async {
        loop {
            let frame = match timeout(IDLE_MAX, read_frame(&mut reader)).await {
                Ok(Ok(Some(frame))) => frame,
                Ok(Ok(None)) | Err(_) => return Ok(()),
                Ok(Err(error)) => return Err(error),
            };
            let id = frame.id;
            let answering = serve(asker, Request::decode(frame)?);
            let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
            let outbox = outbox.clone();
            tokio::spawn(async move {
                let answer = answering.await;
                let frame = answer.encode(id).or_else(|error| Answer::Refused(error.to_string()).encode(id));
                // The link may have ended meanwhile; the asker knows that then.
                let _ = outbox.send(frame).await;
                drop(slot);
            });
        }
    };
    tokio::select! {
        ended = reading => ended,
        ended = write(writer, inbox) => ended,
    }
}

async fn write(mut writer: OwnedWriteHalf, mut inbox: mpsc::Receiver<io::Result<Vec<u8>>>) -> io::Result<()> {
    while let Some(frame) = inbox.recv().await {
        writer.write_all(&frame?).await?;
    }
    Ok(())
}
