//! The login phase (RFC 7143, section 6.3) as a state machine: responses go in, requests or a
//! verdict come out.
//! Must not use a socket, a clock or a source of randomness.

use zeroize::Zeroizing;

use super::{
    address,
    answer::{Accepted, AuthKind},
    chap::{self, Challenge, Expected, Proof},
    parameters,
    pdu::{LoginRequest, LoginResponse, Numbers, Phase},
    question::{ChapAnswer, Question},
    refusal::{MutualFault, Refusal, Stage},
    text::{Keys, Lines, hex, number},
};

/// The default MaxRecvDataSegmentLength, which holds until the full feature phase (section 13.12).
pub(super) const LONGEST_SEGMENT: usize = 8192;
/// A compliant login takes four at most.
const MOST_ROUNDS: usize = 16;
/// Section 6.1 requires at least 8192.
const MOST_TEXT: usize = 64 << 10;

/// The random values of a login.
pub(super) struct Dice {
    /// For the ISID; see [`Login::begin`].
    pub(super) isid: [u8; 3],
    pub(super) itt: u32,
    /// For the target's proof.
    pub(super) identifier: u8,
    /// As long as the longest digest; a shorter one uses its beginning.
    pub(super) challenge: [u8; 32],
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// To the end of authentication: no session is made.
    Authenticate,
    /// Into the full feature phase.
    Session,
}

/// What to do next.
pub(super) enum Step {
    Send(Zeroizing<Vec<u8>>),
    /// [`Goal::Authenticate`] is reached.
    Authenticated(Accepted),
    /// [`Goal::Session`] is reached; the numbers continue.
    Session(Accepted, Numbers),
}

/// The response that is expected.
enum Wait<'q> {
    /// The choice of a method.
    Method,
    /// The end of the security stage without authentication.
    Nothing,
    /// `CHAP_A`, `CHAP_I` and `CHAP_C`.
    Challenge,
    /// The end of the security stage, and with mutual CHAP the target's proof.
    Verdict { kind: AuthKind, expected: Option<Expected<'q>> },
    /// The answers to our operational parameters.
    Parameters { kind: AuthKind },
}

pub(super) struct Login<'q> {
    question: &'q Question<'q>,
    goal: Goal,
    dice: Dice,
    numbers: Numbers,
    /// The stages that our last request named.
    phase: Phase,
    next: Option<Phase>,
    wait: Wait<'q>,
    rounds: usize,
    text: Vec<u8>,
    tpgt: Option<u16>,
}

impl<'q> Login<'q> {
    /// The first request. The question is valid ([`Question::check`]).
    pub(super) fn begin(question: &'q Question<'q>, goal: Goal, dice: Dice) -> (Self, Zeroizing<Vec<u8>>) {
        let numbers = Numbers { itt: dice.itt, cmd_sn: 1, exp_stat_sn: 0 };
        let (phase, wait) = (Phase::Security, Wait::Method);
        let mut login = Self {
            question,
            goal,
            dice,
            numbers,
            phase,
            next: None,
            wait,
            rounds: 0,
            text: Vec::new(),
            tpgt: None,
        };
        let lines = Lines::new().with("InitiatorName", question.initiator.as_str());
        let lines = match question.target {
            Some(target) => lines.with("SessionType", "Normal").with("TargetName", target.as_str()),
            None => lines.with("SessionType", "Discovery"),
        };
        let first = match &question.chap {
            // CHAP is offered although there is no secret for it: a target that requires CHAP then
            // says so. LIO, if offered None alone, closes the connection without a reply.
            None => login.transit(lines.with("AuthMethod", "None,CHAP")),
            // Without None a target cannot choose to prove nothing.
            Some(ChapAnswer { target: Some(_), .. }) => login.stay(lines.with("AuthMethod", "CHAP")),
            Some(_) => login.stay(lines.with("AuthMethod", "CHAP,None")),
        };
        (login, first)
    }

    pub(super) fn stage(&self) -> Stage {
        match self.wait {
            Wait::Method | Wait::Nothing => Stage::Greeting,
            Wait::Challenge => Stage::Challenge,
            Wait::Verdict { .. } => Stage::Proof,
            Wait::Parameters { .. } => Stage::Parameters,
        }
    }

    /// Takes one response and its data.
    pub(super) fn receive(&mut self, response: &LoginResponse, data: &[u8]) -> Result<Step, Refusal> {
        self.rounds += 1;
        if response.itt != self.numbers.itt {
            return Err(Refusal::Protocol("a response to another request"));
        }
        if response.class != 0 {
            return Err(self.refused(response, data));
        }
        if self.rounds > MOST_ROUNDS {
            return Err(Refusal::Protocol("too many login responses"));
        }
        let done = response.ends(self.phase, self.next)?;
        self.numbers.exp_stat_sn = response.stat_sn.wrapping_add(1);
        if self.text.len() + data.len() > MOST_TEXT {
            return Err(Refusal::Protocol("too much text in a login"));
        }
        self.text.extend_from_slice(data);
        if response.more {
            // Section 7.2: an empty request asks for the rest.
            return Ok(Step::Send(self.stay(Lines::new())));
        }
        let text = std::mem::take(&mut self.text);
        self.advance(&Keys::parse(&text)?, done, response.tsih)
    }

    fn refused(&self, response: &LoginResponse, data: &[u8]) -> Refusal {
        let stage = self.stage();
        match (response.class, response.detail) {
            (1, detail @ (1 | 2)) => address::redirection(data, detail == 2),
            // RFC 7143 has no status for this case, but nothing was proved yet and nothing could
            // be.
            (2, 1) if self.question.chap.is_none() => Refusal::ChapRequired,
            // Only names and methods were sent. tgt replies like this if it does not have CHAP.
            (2, 1) if stage == Stage::Greeting => Refusal::NoCommonMethod,
            // Only the list of algorithms was sent. tgt replies like this.
            (2, 0) if stage == Stage::Challenge => Refusal::NoCommonAlgorithm,
            (class, detail) => Refusal::Status { class, detail, stage },
        }
    }

    fn advance(&mut self, keys: &Keys<'_>, done: bool, tsih: u16) -> Result<Step, Refusal> {
        if let (None, Some(tpgt)) = (self.tpgt, keys.get("TargetPortalGroupTag")) {
            self.tpgt = Some(number(tpgt).ok_or(Refusal::Protocol("a bad TargetPortalGroupTag"))?);
        }
        match &self.wait {
            Wait::Method => self.method(keys, done),
            Wait::Nothing if done => Ok(self.authenticated(AuthKind::None)),
            Wait::Nothing => Ok(Step::Send(self.transit(Lines::new()))),
            Wait::Challenge => self.challenge(keys),
            Wait::Verdict { .. } => self.verdict(keys, done),
            Wait::Parameters { kind } => self.parameters(*kind, keys, done, tsih),
        }
    }

    fn method(&mut self, keys: &Keys<'_>, done: bool) -> Result<Step, Refusal> {
        let chosen = keys.get("AuthMethod");
        match (&self.question.chap, chosen) {
            (None, None | Some("None")) => {
                self.wait = Wait::Nothing;
                self.advance(keys, done, 0)
            }
            // A target that requires CHAP chooses it; one that has neither method sends Reject.
            (None, Some(_)) => Err(Refusal::ChapRequired),
            // It may send more before it chooses.
            (Some(_), None) => Ok(Step::Send(self.stay(Lines::new()))),
            (Some(_), Some("CHAP")) => {
                self.wait = Wait::Challenge;
                Ok(Step::Send(self.stay(chap::offer(self.question.algorithms))))
            }
            (Some(ChapAnswer { target: Some(_), .. }), Some("None")) => {
                Err(Refusal::MutualFailed(MutualFault::NotOffered))
            }
            (Some(_), Some("None")) => {
                self.wait = Wait::Nothing;
                Ok(Step::Send(self.transit(Lines::new())))
            }
            (Some(_), Some(_)) => Err(Refusal::NoCommonMethod),
        }
    }

    fn challenge(&mut self, keys: &Keys<'_>) -> Result<Step, Refusal> {
        let Some(ours) = &self.question.chap else {
            return Err(Refusal::Protocol("a challenge without CHAP"));
        };
        let Challenge { algorithm, identifier, bytes } = Challenge::read(keys, self.question.algorithms)?;
        let own = self.dice.challenge.get(..algorithm.size()).unwrap_or(&self.dice.challenge);
        if *bytes == own {
            return Err(Refusal::MutualFailed(MutualFault::Reflected));
        }
        let proof = Proof::new(algorithm, identifier, ours.secret, &bytes);
        let lines = Lines::new().with("CHAP_N", ours.username).with("CHAP_R", &proof.hex());
        let (lines, kind, expected) = match ours.target {
            None => (lines, AuthKind::OneWay(algorithm), None),
            Some((name, secret)) => {
                let theirs = Proof::new(algorithm, self.dice.identifier, secret, own);
                let identifier = self.dice.identifier.to_string();
                let lines = lines.with("CHAP_I", &identifier).with("CHAP_C", &hex(own));
                (lines, AuthKind::Mutual(algorithm), Some(Expected { name, proof: theirs, own: proof }))
            }
        };
        self.wait = Wait::Verdict { kind, expected };
        Ok(Step::Send(self.transit(lines)))
    }

    fn verdict(&mut self, keys: &Keys<'_>, done: bool) -> Result<Step, Refusal> {
        let Wait::Verdict { kind, expected } = &mut self.wait else {
            return Err(Refusal::Protocol("a verdict without a question"));
        };
        // A second challenge could only make us prove more.
        if ["AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C"].into_iter().any(|key| keys.get(key).is_some()) {
            return Err(Refusal::Protocol("a second challenge"));
        }
        if let Some(unproved) = expected
            && unproved.verify(keys)?
        {
            *expected = None;
        }
        match (done, expected) {
            (false, _) => Ok(Step::Send(self.transit(Lines::new()))),
            // The target accepted our proof, but sent none of its own.
            (true, Some(_)) => Err(Refusal::MutualFailed(MutualFault::NotOffered)),
            (true, None) => {
                let kind = *kind;
                Ok(self.authenticated(kind))
            }
        }
    }

    fn authenticated(&mut self, kind: AuthKind) -> Step {
        if self.goal == Goal::Authenticate {
            return Step::Authenticated(self.accepted(kind));
        }
        self.wait = Wait::Parameters { kind };
        self.phase = Phase::Operational;
        let offers = parameters::offers(self.question.target.is_none());
        let lines = offers.fold(Lines::new(), |lines, (key, value)| lines.with(key, value));
        Step::Send(self.transit(lines))
    }

    fn parameters(
        &mut self,
        kind: AuthKind,
        keys: &Keys<'_>,
        done: bool,
        tsih: u16,
    ) -> Result<Step, Refusal> {
        let answers = parameters::answers(keys, self.question.target.is_none())?;
        match (done, tsih) {
            (false, _) => Ok(Step::Send(self.transit(answers))),
            (true, 0) => Err(Refusal::Protocol("a session without a handle")),
            (true, _) => Ok(Step::Session(self.accepted(kind), self.numbers)),
        }
    }

    fn accepted(&self, authenticated: AuthKind) -> Accepted {
        Accepted { tpgt: self.tpgt, authenticated, redirected: None }
    }

    /// A request that ends the stage, if the target agrees.
    fn transit(&mut self, lines: Lines) -> Zeroizing<Vec<u8>> {
        self.next = Some(if self.phase == Phase::Security { Phase::Operational } else { Phase::Full });
        self.request(&lines)
    }

    fn stay(&mut self, lines: Lines) -> Zeroizing<Vec<u8>> {
        self.next = None;
        self.request(&lines)
    }

    fn request(&self, lines: &Lines) -> Zeroizing<Vec<u8>> {
        let [a, b, c] = self.dice.isid;
        // Type 10, random (section 11.12.5): with the ISID of a live session, the target would end
        // that session.
        let isid = [0x80, a, b, c, 0, 0];
        LoginRequest { phase: self.phase, next: self.next, isid, numbers: self.numbers, text: lines.bytes() }
            .encode()
    }
}

#[cfg(test)]
mod tests;
