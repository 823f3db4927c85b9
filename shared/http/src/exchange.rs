//! One request, one answer, one connection.

use crate::causes::chain;
use crate::connection::{connect, secure};
use crate::error::{HttpError, HttpProblem};
use crate::request::Request;
use crate::response::Response;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a connection buffers; the head of an answer must fit in it.
const MAX_HEAD: usize = 64 * 1024;

/// Sends a request on a connection of its own and reads the answer, all within the request's time.
///
/// # Errors
/// When the host may not be called, when there is no connection, or when the answer is not there in time, breaks off, is no
/// HTTP, or is larger than the request's rule allows. A status such as 302 or 500 is an answer.
pub async fn send(request: &Request) -> Result<Response, HttpError> {
    let answer = match tokio::time::timeout(request.limit, exchange(request)).await {
        Ok(answer) => answer,
        Err(_) => Err(HttpProblem::TimedOut(request.limit)),
    };
    answer.map_err(|problem| request.error(problem))
}

async fn exchange(request: &Request) -> Result<Response, HttpProblem> {
    let tcp = connect(&request.url).await?;
    if request.url.is_https() {
        converse(secure(&request.url, tcp).await?, request).await
    } else {
        converse(tcp, request).await
    }
}

async fn converse<S>(stream: S, request: &Request) -> Result<Response, HttpProblem>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut client = http1::Builder::new();
    client.max_buf_size(MAX_HEAD);
    let (mut sender, connection) =
        client.handshake(TokioIo::new(stream)).await.map_err(|error| HttpProblem::BrokeOff(chain(&error)))?;
    let message = request.message().map_err(|error| HttpProblem::BrokeOff(error.to_string()))?;
    let talk = async {
        let answer = sender.send_request(message).await;
        let answer = answer.map_err(|error| HttpProblem::BrokeOff(chain(&error)))?;
        Response::read(answer, request.body_rule).await
    };
    tokio::pin!(talk, connection);
    // Both on this task: when the exchange is given up, so is its connection.
    tokio::select! {
        biased;
        answer = &mut talk => answer,
        _ = &mut connection => talk.await,
    }
}

#[cfg(test)]
mod tests;
