//! The connection, the clock and the randomness of the probe; no other part has them.
//! Must not hold a connection beyond the caller's deadline, or resolve a name.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use iscsi_initiator_dbus::{Iqn, Portal, portal::Host};
use rustix::io::Errno;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{
    address::may_lead,
    answer::{Accepted, Listing, LongList, Luns, Redirect},
    login::{Dice, Goal, LONGEST_SEGMENT, Login, Step},
    luns::{self, Survey},
    parameters::DECLARED_SEGMENT,
    pdu::{self, BHS, LoginResponse, Numbers, Response, ScsiResponse, TextResponse},
    question::Question,
    refusal::{Refusal, Stage},
    sendtargets::{self, Exchange, Listed, Wanted},
};

/// The list has arrived already: the logout is a courtesy to the target, with the time that a slow
/// link needs.
const FAREWELL: Duration = Duration::from_secs(1);
/// Pings and messages that a target may send between two answers.
const MOST_ASIDES: usize = 16;

/// Long lists that are there at a time.
static LONG_LISTS: Semaphore = Semaphore::const_new(2);

/// Asks whether the target would accept a login, up to the end of authentication: no session is
/// made.
///
/// One redirection to a numeric address is followed. The single deadline also ends an exchange with
/// a target that sends a byte at a time.
pub async fn login(
    address: SocketAddr,
    question: &Question<'_>,
    deadline: Instant,
) -> Result<Accepted, Refusal> {
    question.check()?;
    visit(address, question, Goal::Authenticate, Wanted::Every, deadline).await.map(|answer| answer.accepted)
}

/// Whether anything accepts a connection there. Nothing is sent.
pub async fn reach(address: SocketAddr, interface: Option<&str>, deadline: Instant) -> Result<(), Refusal> {
    match timeout_at(deadline, Wire::connect(address, interface)).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(Refusal::TimedOut { stage: Stage::Connect }),
    }
}

/// Asks a portal in a discovery session for all its targets, and logs out.
pub async fn send_targets(
    address: SocketAddr,
    question: &Question<'_>,
    deadline: Instant,
) -> Result<Listing, Refusal> {
    listing(address, question, Wanted::Every, deadline).await
}

/// The same for these targets alone, however many others the portal has: they are asked for by their
/// names, and looked for among all targets if the portal does not answer that.
pub async fn send_targets_named(
    address: SocketAddr,
    question: &Question<'_>,
    named: &[Iqn],
    deadline: Instant,
) -> Result<Listing, Refusal> {
    match listing(address, question, Wanted::ByName(named), deadline).await {
        Err(refusal) if is_about_names(refusal.cause()) => {
            listing(address, question, Wanted::AmongAll(named), deadline).await
        }
        answer => answer,
    }
}

/// Section 4.3 demands that a portal takes a name there. What does not may answer in any way.
fn is_about_names(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Protocol(_)
            | Refusal::Rejected { stage: Stage::Targets, .. }
            | Refusal::Closed { stage: Stage::Targets }
    )
}

async fn listing(
    address: SocketAddr,
    question: &Question<'_>,
    wanted: Wanted<'_>,
    deadline: Instant,
) -> Result<Listing, Refusal> {
    question.check()?;
    if question.target.is_some() {
        return Err(Refusal::Question("a discovery session names no target"));
    }
    match visit(address, question, Goal::Session, wanted, deadline).await? {
        Answer { accepted, news: News::Targets(Listed { nodes, left_out }, place) } => {
            Ok(Listing { nodes, left_out, accepted, place })
        }
        _ => Err(Refusal::Question("a discovery session names no target")),
    }
}

/// Asks a target for its LUNs, in a temporary session that is like any other but holds no disk.
pub async fn luns(address: SocketAddr, question: &Question<'_>, deadline: Instant) -> Result<Luns, Refusal> {
    question.check()?;
    match visit(address, question, Goal::Session, Wanted::Every, deadline).await?.news {
        News::Luns(luns) => Ok(luns),
        _ => Err(Refusal::Question("only a target has LUNs")),
    }
}

struct Answer {
    accepted: Accepted,
    news: News,
}

/// The result of a session.
enum News {
    Nothing,
    Targets(Listed, Option<LongList>),
    Luns(Luns),
}

async fn visit(
    at: SocketAddr,
    question: &Question<'_>,
    goal: Goal,
    wanted: Wanted<'_>,
    deadline: Instant,
) -> Result<Answer, Refusal> {
    let (to, permanent) = match call(at, question, goal, wanted, deadline).await {
        Err(Refusal::Redirected { to, permanent }) => (to, permanent),
        answer => return answer,
    };
    let Some(next) = follow(at, &to) else {
        return Err(Refusal::Redirected { to, permanent });
    };
    let mut answer = match call(next, question, goal, wanted, deadline).await {
        Err(again @ Refusal::Redirected { .. }) => return Err(again),
        answer => answer.map_err(|why| Refusal::There { to: to.clone(), why: Box::new(why) })?,
    };
    answer.accepted.redirected = Some(Redirect { to, permanent });
    Ok(answer)
}

/// The destination of a redirection, if the probe may follow it.
fn follow(from: SocketAddr, to: &Portal) -> Option<SocketAddr> {
    match to.host() {
        Host::Address(address, None) if may_lead(from, to.host()) => {
            Some(SocketAddr::new(*address, to.port()))
        }
        _ => None,
    }
}

/// One connection; dropping it closes the connection.
async fn call(
    at: SocketAddr,
    question: &Question<'_>,
    goal: Goal,
    wanted: Wanted<'_>,
    deadline: Instant,
) -> Result<Answer, Refusal> {
    let mut stage = Stage::Connect;
    let answer = timeout_at(deadline, talk(at, question, goal, &mut stage)).await;
    let (mut wire, accepted, numbers) = answer.unwrap_or(Err(Refusal::TimedOut { stage }))?;
    let Some(numbers) = numbers else {
        return Ok(Answer { accepted, news: News::Nothing });
    };
    let stage = if question.target.is_some() { Stage::Luns } else { Stage::Targets };
    let asked = timeout_at(deadline, async {
        match stage {
            Stage::Luns => wire.survey(numbers).await.map(|(luns, logout)| (News::Luns(luns), logout)),
            _ => {
                let ((listed, place), logout) = wire.list(numbers, at, wanted).await?;
                Ok((News::Targets(listed, place), logout))
            }
        }
    });
    let (news, logout) = asked.await.unwrap_or(Err(Refusal::TimedOut { stage }))?;
    let cap = deadline.min(Instant::now() + FAREWELL);
    // In every case the connection ends, and the session with it.
    let _ = timeout_at(cap, wire.farewell(&logout)).await;
    Ok(Answer { accepted, news })
}

/// Connects and logs in. With a session, the numbers are set.
async fn talk(
    at: SocketAddr,
    question: &Question<'_>,
    goal: Goal,
    stage: &mut Stage,
) -> Result<(Wire, Accepted, Option<Numbers>), Refusal> {
    let mut wire = Wire::connect(at, question.interface).await?;
    let (mut login, mut request) = Login::begin(question, goal, roll()?);
    loop {
        *stage = login.stage();
        wire.send(&request, *stage).await?;
        let (response, data) = wire.login_response(*stage).await?;
        request = match login.receive(&response, &data)? {
            Step::Send(request) => request,
            Step::Authenticated(accepted) => return Ok((wire, accepted, None)),
            Step::Session(accepted, numbers) => return Ok((wire, accepted, Some(numbers))),
        };
    }
}

fn roll() -> Result<Dice, Refusal> {
    let mut bytes = [0; 3 + 4 + 1 + 32];
    getrandom::fill(&mut bytes).map_err(|_| Refusal::System(ErrorKind::Other))?;
    let [a, b, c, d, e, f, g, identifier, challenge @ ..] = bytes;
    Ok(Dice { isid: [a, b, c], itt: u32::from_be_bytes([d, e, f, g]) >> 1, identifier, challenge })
}

struct Wire {
    stream: TcpStream,
    /// Nothing has arrived yet: the peer may not speak iSCSI at all.
    is_new: bool,
}

impl Wire {
    async fn connect(at: SocketAddr, interface: Option<&str>) -> Result<Self, Refusal> {
        let stream = match interface {
            None => TcpStream::connect(at).await,
            Some(interface) => bound(at, interface)?.connect(at).await,
        };
        let stream = stream.map_err(|error| unconnected(&error))?;
        // Requests are answered one by one, so there is no point in collecting them.
        stream.set_nodelay(true).map_err(|error| Refusal::System(error.kind()))?;
        Ok(Self { stream, is_new: true })
    }

    async fn send(&mut self, pdu: &[u8], stage: Stage) -> Result<(), Refusal> {
        self.stream.write_all(pdu).await.map_err(|error| lost(&error, stage))
    }

    /// One PDU. Its length is checked before memory is allocated for it.
    async fn receive(&mut self, limit: usize, stage: Stage) -> Result<(Response, Vec<u8>), Refusal> {
        let mut bhs = [0; BHS];
        let (first, rest) = bhs.split_at_mut(1);
        self.fill(first, stage).await?;
        // Decided by the first byte: a server that waits after its greeting would otherwise take
        // until the deadline.
        if std::mem::take(&mut self.is_new) && !first.iter().all(|first| pdu::begins_an_answer(*first)) {
            return Err(Refusal::NotIscsi);
        }
        self.fill(rest, stage).await?;
        let (length, padded) = pdu::lengths(&bhs, limit)?;
        let mut data = vec![0; padded];
        self.fill(&mut data, stage).await?;
        data.truncate(length);
        Ok((pdu::decode(&bhs), data))
    }

    async fn fill(&mut self, room: &mut [u8], stage: Stage) -> Result<(), Refusal> {
        self.stream.read_exact(room).await.map(|_| ()).map_err(|error| lost(&error, stage))
    }

    async fn login_response(&mut self, stage: Stage) -> Result<(LoginResponse, Vec<u8>), Refusal> {
        match self.receive(LONGEST_SEGMENT, stage).await? {
            (Response::Login(response), data) => Ok((response, data)),
            (Response::Reject { reason }, _) => Err(Refusal::Rejected { reason, stage }),
            _ => Err(Refusal::Protocol("no login response")),
        }
    }

    async fn list(
        &mut self,
        numbers: Numbers,
        here: SocketAddr,
        wanted: Wanted<'_>,
    ) -> Result<((Listed, Option<LongList>), zeroize::Zeroizing<Vec<u8>>), Refusal> {
        let (mut exchange, mut request) = Exchange::begin(numbers, here, wanted);
        let mut place = None;
        loop {
            self.send(&request, Stage::Targets).await?;
            let (response, data) = self.text_response().await?;
            let step = exchange.receive(&response, &data)?;
            if exchange.is_long() && place.is_none() {
                // It is never closed. The deadline ends the wait.
                place = LONG_LISTS.acquire().await.ok().map(LongList);
            }
            request = match step {
                sendtargets::Step::Send(request) => request,
                sendtargets::Step::Done(listed, logout) => return Ok(((listed, place), logout)),
            };
        }
    }

    async fn survey(&mut self, numbers: Numbers) -> Result<(Luns, zeroize::Zeroizing<Vec<u8>>), Refusal> {
        let (mut survey, request) = Survey::begin(numbers);
        self.send(&request, Stage::Luns).await?;
        loop {
            let (response, data) = self.scsi_response().await?;
            match survey.receive(&response, &data)? {
                luns::Step::Wait => {}
                luns::Step::Send(request) => self.send(&request, Stage::Luns).await?,
                luns::Step::Done(luns, logout) => return Ok((luns, logout)),
            }
        }
    }

    async fn text_response(&mut self) -> Result<(TextResponse, Vec<u8>), Refusal> {
        match self.response(Stage::Targets).await? {
            (Response::Text(response), data) => Ok((response, data)),
            _ => Err(Refusal::Protocol("no text response")),
        }
    }

    async fn scsi_response(&mut self) -> Result<(ScsiResponse, Vec<u8>), Refusal> {
        match self.response(Stage::Luns).await? {
            (Response::Scsi(response), data) => Ok((response, data)),
            _ => Err(Refusal::Protocol("no SCSI response")),
        }
    }

    /// The answer to a request in a session; skips what a target may send in between.
    async fn response(&mut self, stage: Stage) -> Result<(Response, Vec<u8>), Refusal> {
        for _ in 0..MOST_ASIDES {
            match self.receive(DECLARED_SEGMENT, stage).await? {
                (Response::Reject { reason }, _) => return Err(Refusal::Rejected { reason, stage }),
                // Section 11.9.1: 1 to 3 ask for or announce the end of the session.
                (Response::Async { event: 1..=3 }, _) => return Err(Refusal::Closed { stage }),
                // A session of seconds needs no keep-alive and no news.
                (Response::NopIn | Response::Async { .. }, _) => {}
                answer => return Ok(answer),
            }
        }
        Err(Refusal::Protocol(match stage {
            Stage::Luns => "no SCSI response",
            _ => "no text response",
        }))
    }

    async fn farewell(&mut self, logout: &[u8]) -> Result<(), Refusal> {
        self.send(logout, Stage::Targets).await?;
        while self.receive(DECLARED_SEGMENT, Stage::Targets).await?.0 != Response::Logout {}
        Ok(())
    }
}

/// As iscsid does it (usr/io.c, `bind_conn_to_iface`). An unbound socket may be bound without
/// privileges (Linux 5.7).
fn bound(at: SocketAddr, interface: &str) -> Result<TcpSocket, Refusal> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| Refusal::System(error.kind()))?;
    match socket.bind_device(Some(interface.as_bytes())) {
        Ok(()) => Ok(socket),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => Err(Refusal::NoInterface),
        Err(error) => Err(Refusal::System(error.kind())),
    }
}

fn unconnected(error: &io::Error) -> Refusal {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Refusal::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            Refusal::NoRoute
        }
        // The kernel has no source address of that family.
        ErrorKind::AddrNotAvailable => Refusal::NoRoute,
        // The kernel's own timeout came before ours.
        ErrorKind::TimedOut => Refusal::TimedOut { stage: Stage::Connect },
        kind => Refusal::System(kind),
    }
}

fn lost(error: &io::Error, stage: Stage) -> Refusal {
    match error.kind() {
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe => Refusal::Closed { stage },
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            Refusal::NoRoute
        }
        ErrorKind::TimedOut => Refusal::TimedOut { stage },
        kind => Refusal::System(kind),
    }
}
