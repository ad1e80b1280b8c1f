//! What stands between two processes and can be told to misbehave: slow, refusing, or cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What it does with what passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weather {
    /// Passes it on.
    Fair,
    /// Waits before each piece that it passes on.
    Slow(Duration),
    /// Answers 503 to whoever connects, and drops who is connected.
    Unavailable,
    /// Passes nothing on, in silence, as a network does that lost its way.
    Cut,
}

/// A proxy on a loopback port. Dropped, it ends.
pub struct Proxy {
    address: SocketAddr,
    weather: Arc<watch::Sender<Weather>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to a port of this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
        let address = listener.local_addr().expect("it is bound");
        let weather = Arc::new(watch::Sender::new(Weather::Fair));
        let accepting = tokio::spawn({
            let weather = weather.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(connection(client, port, weather.subscribe()));
                }
            }
        });
        Self { address, weather, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does, also to what is connected.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connection(mut client: TcpStream, port: u16, mut weather: watch::Receiver<Weather>) {
    if *weather.borrow_and_update() == Weather::Unavailable {
        // Its head, so that the client sees an answer and not a reset.
        let _ = client.read(&mut [0; 4096]).await;
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let _ = client.write_all(answer.as_bytes()).await;
        let _ = client.shutdown().await;
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), server.into_split());
    let there = pass(client_in, server_out, weather.clone());
    let back = pass(server_in, client_out, weather.clone());
    tokio::select! {
        _ = async { tokio::join!(there, back) } => {}
        _ = weather.wait_for(|weather| *weather == Weather::Unavailable) => {}
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut weather: watch::Receiver<Weather>,
) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let now = *weather.borrow_and_update();
        match now {
            Weather::Slow(time) => tokio::time::sleep(time).await,
            Weather::Cut => drop(weather.wait_for(|weather| *weather != Weather::Cut).await),
            Weather::Fair | Weather::Unavailable => {}
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
