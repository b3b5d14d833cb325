//! Hits while a crowd reads slowly: what others notice of it, and what memory it takes.
//!
//! All of the crowd must read from before the measuring until after it: who ends in between, or is given nothing to read, is told as cut off, and
//! wrong bytes fail the round.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::account::{Account, at_rest};
use super::{AS_NAMED_MIN_PERCENT, Context, asking};
use crate::client::Client;
use crate::draw::{Draw, Seen, Wish};
use crate::object::{Kind, Object};
use crate::plan::{SLOW_GATHER_MAX_S, Slow};
use crate::results::Round;

/// How much of an answer a slow reader lets come before it reads, in bytes.
const WINDOW: u32 = 64 << 10;
/// How long the crowd may take until all of it reads.
const GATHER_MAX: Duration = Duration::from_secs(SLOW_GATHER_MAX_S);
/// The number of the object that all of the crowd read.
const NUMBER: u64 = 1 << 61;
/// Who has read less than this share of what its rate lets it read, in percent, was kept waiting by the server.
const READ_MIN_PERCENT: u64 = 50;
/// What a reader may lack beside, in bytes: what it reads in one piece, and waits for with the next.
const PIECE_MAX: u64 = 64 << 10;

/// How a reader ended whose bytes were right.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    /// It read until it was stopped.
    Stopped,
    /// It did not, and why.
    CutOff(String),
}

/// The figures that only this scenario has.
pub(super) const FIGURES: &[&str] = &["slow_clients", "slow_clients_cut_off"];

pub(super) async fn round(context: &Context<'_>) -> Result<Round, String> {
    let slow = context.plan.slow.ok_or("slow clients have no table [slow]")?;
    let ready = asking::stored(context, Kind::Plain).await?;
    let object = Object { kind: Kind::Plain, number: NUMBER, bytes: slow.bytes };
    let draw = Arc::new(Draw::new(context.plan.draw(context.folder, Kind::Plain, None, 1)?)?);
    asking::warm(context.clients, &draw, vec![object]).await?;
    crate::machine::allow_files(slow.clients as u64, &format!("{} slow clients", slow.clients))?;
    // Not with the crowd there, which would read on meanwhile.
    at_rest(context).await?;
    let crowd = Crowd::gather(context.clients, &draw, object, slow).await?;
    let mut account = Account::open(context).await?;
    let report = asking::asked(context, &ready).await;
    account.asked()?;
    let ended = crowd.stop().await?;
    let mut round = context.as_named(account.settled(report?).await?, true)?;
    let cut_off: Vec<String> =
        ended.into_iter().filter_map(|ended| if let Ended::CutOff(why) = ended { Some(why) } else { None }).collect();
    let read = slow.clients - cut_off.len();
    if (read as u64) * 100 < slow.clients as u64 * AS_NAMED_MIN_PERCENT {
        let why = cut_off.first().map_or("", String::as_str);
        return Err(format!("{read} of {} slow clients read to the end: this is no measure of slow clients: {why}", slow.clients));
    }
    round.further.insert("slow_clients".to_owned(), slow.clients as f64);
    round.further.insert("slow_clients_cut_off".to_owned(), cut_off.len() as f64);
    Ok(round)
}

/// Readers, all of whom have begun to read.
struct Crowd {
    readers: JoinSet<Result<Ended, String>>,
    stop: watch::Sender<bool>,
}

impl Crowd {
    async fn gather(clients: &[Client], draw: &Arc<Draw>, object: Object, slow: Slow) -> Result<Self, String> {
        let reading = Arc::new(Semaphore::new(0));
        let (stop, stopped) = watch::channel(false);
        let mut readers = JoinSet::new();
        for index in 0..slow.clients {
            let client = clients[index % clients.len()].clone().with_window(WINDOW);
            let (draw, reading, stopped) = (Arc::clone(draw), Arc::clone(&reading), stopped.clone());
            readers.spawn(async move { read(&client, &draw, object, slow.rate, &reading, stopped).await });
        }
        let all = u32::try_from(slow.clients).unwrap_or(u32::MAX);
        tokio::select! {
            gathered = timeout(GATHER_MAX, reading.acquire_many(all)) => match gathered {
                Ok(_) => Ok(Self { readers, stop }),
                Err(_) => Err(format!("not all of {} slow clients read within {GATHER_MAX:?}", slow.clients)),
            },
            // A crowd of those who are gone is none.
            Some(ended) = readers.join_next() => {
                let why = match ended.map_err(|error| format!("a slow client's task failed: {error}"))?? {
                    Ended::CutOff(why) => why,
                    Ended::Stopped => "it was stopped".to_owned(),
                };
                Err(format!("one of {} slow clients ended before all of them read: {why}", slow.clients))
            }
        }
    }

    /// Stops all who still read; how each has ended.
    async fn stop(mut self) -> Result<Vec<Ended>, String> {
        let _ = self.stop.send(true);
        let mut all = Vec::with_capacity(self.readers.len());
        while let Some(ended) = self.readers.join_next().await {
            all.push(ended.map_err(|error| format!("a slow client's task failed: {error}"))??);
        }
        Ok(all)
    }
}

/// Reads until it is told to stop; an error if a byte was wrong.
async fn read(
    client: &Client,
    draw: &Draw,
    object: Object,
    rate: u64,
    reading: &Semaphore,
    mut stopped: watch::Receiver<bool>,
) -> Result<Ended, String> {
    let mut connection = match client.connect().await {
        Ok(connection) => connection,
        Err(why) => return Ok(Ended::CutOff(why)),
    };
    let wish = Wish::whole(object);
    let mut seen = Seen::new(draw, &wish);
    let mut begun = None;
    let asking = connection.ask_slowly(client.request(&object.path())?, rate, |part| {
        if begun.is_none() {
            begun = Some(Instant::now());
            reading.add_permits(1);
        }
        seen.take(part);
    });
    let answered = tokio::select! {
        biased;
        _ = stopped.wait_for(|stop| *stop) => None,
        answered = asking => Some(answered),
    };
    if let Some(Ok(head)) = &answered {
        seen.answers(head.status, &head.headers)?;
    }
    let octets = seen.reached()?;
    let spent = begun.map(|begun| begun.elapsed()).unwrap_or_default();
    let far = || format!("{octets} of {} bytes in {:.1} s at {rate} bytes a second", object.bytes, spent.as_secs_f64());
    Ok(match answered {
        None => {
            let due = (rate as f64 * spent.as_secs_f64()) as u64 * READ_MIN_PERCENT / 100;
            if octets + PIECE_MAX < due { Ended::CutOff(format!("it was given {}", far())) } else { Ended::Stopped }
        }
        Some(Ok(_)) => Ended::CutOff(format!("it had all of the answer: {}", far())),
        Some(Err(error)) => Ended::CutOff(format!("{error}: {}", far())),
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::client::Protocol;
    use crate::target::Target;

    const OBJECT: Object = Object { kind: Kind::Plain, number: NUMBER, bytes: 600_000 };
    /// What the server gives of it at once.
    const GIVEN: u64 = 10_000;
    const SLOW: Slow = Slow { clients: 2, rate: 1 << 20, bytes: OBJECT.bytes };

    /// What the server does after the head of the answer to its connections, in their order.
    #[derive(Clone, Copy)]
    enum Gives {
        /// Bytes of something else.
        Wrong,
        /// Some bytes, and no more.
        Some,
        /// All of them, as fast as they are taken.
        All,
        /// Not one byte.
        Nothing,
    }

    /// A client of such a server, whose connections end when the word is given.
    async fn client(gives: [Gives; 2], draw: &Arc<Draw>, end: watch::Receiver<bool>) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let draw = Arc::clone(draw);
        tokio::spawn(async move {
            for gives in gives {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                let (draw, mut end) = (Arc::clone(&draw), end.clone());
                tokio::spawn(async move {
                    let read = socket.read(&mut [0; 4096]).await.expect("a request");
                    assert!(read > 0);
                    let length = if matches!(gives, Gives::All) { GIVEN } else { OBJECT.bytes };
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    socket.write_all(head.as_bytes()).await.expect("a head");
                    let right = draw.pattern.piece(OBJECT, &(0..GIVEN));
                    match gives {
                        Gives::Wrong => socket.write_all(&right.iter().map(|byte| !byte).collect::<Vec<_>>()).await.expect("written"),
                        Gives::Some | Gives::All => socket.write_all(right).await.expect("written"),
                        Gives::Nothing => {}
                    }
                    let _ = end.wait_for(|end| *end).await;
                });
            }
        });
        let target = Target::find(&format!("http://{address}/"), &[]).await.expect("a target");
        Client::new(target, Protocol::H1, None).expect("a client")
    }

    async fn crowd(gives: [Gives; 2]) -> (Result<Crowd, String>, watch::Sender<bool>) {
        let plan: crate::plan::Plan = toml::from_str("scenario = \"slow-clients\"\nwhat = \"A test.\"").expect("a plan");
        let settings = plan.draw(std::path::Path::new("."), Kind::Plain, None, 1).expect("settings");
        let draw = Arc::new(Draw::new(settings).expect("a draw"));
        let (end, ending) = watch::channel(false);
        let client = client(gives, &draw, ending).await;
        (Crowd::gather(&[client], &draw, OBJECT, SLOW).await, end)
    }

    #[tokio::test]
    async fn wrong_bytes_fail_however_few_were_read() {
        let (crowd, _end) = crowd([Gives::Some, Gives::Wrong]).await;
        let why = crowd.expect("both read").stop().await.expect_err("wrong bytes");
        assert!(why.contains("a body has other bytes than the origin's"), "{why}");
    }

    #[tokio::test]
    async fn who_is_let_go_or_given_nothing_more_is_cut_off() {
        let (crowd, end) = crowd([Gives::Some, Gives::Some]).await;
        let mut crowd = crowd.expect("both read");
        end.send(true).expect("a server");
        let ended = crowd.readers.join_next().await.expect("a reader").expect("a task").expect("right bytes");
        assert!(matches!(&ended, Ended::CutOff(why) if why.contains("10000 of 600000 bytes")), "{ended:?}");
        drop(crowd);
        let (crowd, _end) = self::crowd([Gives::Some, Gives::Some]).await;
        let crowd = crowd.expect("both read");
        assert!(timeout(Duration::from_millis(300), std::future::pending::<()>()).await.is_err());
        let ended = crowd.stop().await.expect("right bytes");
        let waited = |ended: &Ended| matches!(ended, Ended::CutOff(why) if why.starts_with("it was given 10000 of 600000 bytes in "));
        assert!(ended.len() == 2 && ended.iter().all(waited), "{ended:?}");
    }

    #[tokio::test]
    async fn a_crowd_of_which_one_is_done_is_none() {
        let (crowd, _end) = crowd([Gives::All, Gives::Nothing]).await;
        let why = crowd.err().expect("one is done");
        assert!(why.contains("a body has 10000 octets where 600000 are expected"), "{why}");
    }
}
