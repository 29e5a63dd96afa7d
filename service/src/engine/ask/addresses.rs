//! Asks all addresses of a host name in parallel: a silent one must not use up the time of the others,
//! and the one that fails must be named. The first answer counts.

use std::{collections::BTreeSet, future::Future, time::Duration};

use iscsi_initiator_dbus::{Fault, Kind, Portal, fault::Result};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::backend::host::limit::Limit;

/// How long an address of a host name is waited for before the next one is asked as well.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// How long the other addresses are waited for once one has rejected us.
const STRAGGLERS: Duration = Duration::from_millis(1500);
/// How many addresses a message names.
const SHOWN: usize = 4;

/// The first answer and the address that gave it. Each address is asked a moment after the one before,
/// as RFC 8305 does.
pub(in crate::engine) async fn first_answer<T, F>(
    questions: Vec<(Portal, F)>,
    limit: &Limit,
) -> Result<(Portal, T)>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let number = u32::try_from(4 * questions.len().max(1)).unwrap_or(u32::MAX);
    let pause = NEXT_ADDRESS.min(limit.left() / number);
    let (mut waiting, mut asked) = (questions.into_iter(), JoinSet::new());
    let mut under_way = BTreeSet::new();
    let mut faults = Vec::new();
    let (mut next, mut end) = (Instant::now(), limit.deadline() + pause);
    loop {
        let is_next = Instant::now() >= next || asked.is_empty();
        if is_next && let Some((portal, question)) = waiting.next() {
            under_way.insert(portal.clone());
            asked.spawn(async move { (portal, question.await) });
            next = Instant::now() + pause;
            continue;
        }
        if asked.is_empty() {
            break;
        }
        let has_more = waiting.len() > 0;
        tokio::select! {
            Some(answer) = asked.join_next() => match answer {
                Ok((portal, Ok(answer))) => return Ok((portal, answer)),
                Ok((portal, Err(fault))) => {
                    under_way.remove(&portal);
                    if is_reply(&fault) {
                        end = end.min(Instant::now() + STRAGGLERS);
                    }
                    faults.push(fault);
                    next = Instant::now();
                }
                Err(_) => {
                    let lost = "an internal task failed; the journal has the details";
                    return Err(Fault::new(Kind::Failed, lost));
                }
            },
            () = sleep_until(next), if has_more => {}
            () = sleep_until(end), if !has_more => break,
        }
    }
    let silent = under_way.iter().map(|portal| limit.fault(format!("{portal}: did not reply in time")));
    Err(all_failed(faults.into_iter().chain(silent).collect(), limit))
}

/// The portal has spoken: others are not waited for until the deadline.
fn is_reply(fault: &Fault) -> bool {
    !matches!(fault.kind(), Kind::PortalUnreachable | Kind::TimedOut)
}

/// The most specific reason, with those of the other addresses.
fn all_failed(mut faults: Vec<Fault>, limit: &Limit) -> Fault {
    if limit.is_cancelled() {
        return limit.fault("");
    }
    faults.sort_by_key(|fault| fault.kind().rank());
    let Some(first) = faults.first() else {
        return Fault::new(Kind::PortalUnreachable, "the portal has no address");
    };
    let shown: Vec<&str> = faults.iter().take(SHOWN).map(Fault::message).collect();
    let more = match faults.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("; and {more} more addresses failed"),
    };
    Fault::new(first.kind(), format!("{}{more}", shown.join("; "))).hint(first.next_step())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portal(number: usize) -> Portal {
        format!("192.0.2.{number}:3260").parse().unwrap()
    }

    #[test]
    fn of_several_addresses_the_most_specific_reason_counts_and_all_are_named() {
        let limit = Limit::of(Duration::from_secs(20));
        let fault = |kind, what: &str| Fault::new(kind, what).hint(format!("about {what}"));
        let all = all_failed(
            vec![
                fault(Kind::TimedOut, "192.0.2.1:3260: silent"),
                fault(Kind::ChapRejected, "192.0.2.2:3260: rejected"),
                fault(Kind::PortalUnreachable, "192.0.2.3:3260: nothing listens"),
                fault(Kind::TimedOut, "192.0.2.4:3260: silent"),
                fault(Kind::TimedOut, "192.0.2.5:3260: silent"),
            ],
            &limit,
        );
        assert_eq!((all.kind(), all.next_step()), (Kind::ChapRejected, "about 192.0.2.2:3260: rejected"));
        assert!(all.message().starts_with("192.0.2.2:3260: rejected; 192.0.2.3:3260: nothing"), "{all}");
        assert!(
            all.message().contains("192.0.2.1") && all.message().ends_with("and 1 more addresses failed")
        );
        let one = all_failed(vec![fault(Kind::TimedOut, "192.0.2.1:3260: silent")], &limit);
        assert_eq!(one.message(), "192.0.2.1:3260: silent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_holds_nobody_up_and_is_the_one_that_is_named() {
        let limit = Limit::of(Duration::from_secs(20));
        let ask = |number: usize, after: Option<u64>, answer: Result<usize>| {
            let asked = async move {
                match after {
                    Some(after) => tokio::time::sleep(Duration::from_millis(after)).await,
                    None => std::future::pending().await,
                }
                answer
            };
            (portal(number), asked)
        };
        let rejected = || Err(Fault::new(Kind::ChapRejected, "192.0.2.2:3260: rejected"));
        // Several of them, and the one that answers is the last.
        let asks = vec![ask(1, None, Ok(1)), ask(2, None, Ok(2)), ask(3, Some(5), Ok(3))];
        let begun = Instant::now();
        assert_eq!(first_answer(asks, &limit).await.unwrap(), (portal(3), 3));
        assert!(begun.elapsed() < Duration::from_secs(1));
        // One that rejects us is waited beyond, but not for as long as the silent one takes.
        let asks = vec![ask(1, None, Ok(1)), ask(2, Some(1), rejected()), ask(3, Some(900), Ok(3))];
        assert_eq!(first_answer(asks, &limit).await.unwrap().1, 3);
        let fault = first_answer(vec![ask(1, None, Ok(1)), ask(2, Some(1), rejected())], &limit).await;
        let fault = fault.unwrap_err();
        assert_eq!(fault.kind(), Kind::ChapRejected);
        assert!(fault.message().contains("192.0.2.1:3260: did not reply"), "{fault}");
        assert!(begun.elapsed() < Duration::from_secs(10));
        let none = first_answer(Vec::<(Portal, std::future::Ready<Result<()>>)>::new(), &limit).await;
        assert_eq!(none.unwrap_err().kind(), Kind::PortalUnreachable);
    }
}
