//! A bus of its own (`dbus-daemon(1)`) with a stand-in for systemd and logind, which notes what it is asked
//! and answers as the test says. It speaks messages, not interfaces, so that it can do what no proper
//! service does: signal before it answers, answer late or never, leave in the middle.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{BufRead, BufReader};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use edgeprep::apply::bus::Bus;
use futures_core::Stream;
use tempfile::TempDir;
use zbus::message::{Flags, Type};
use zbus::{Connection, Message, MessageStream, ObjectPath, Variant};

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PATH: &str = "/org/freedesktop/systemd1";

/// What the stand-in does when it is asked for something.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// This error.
    Error(&'static str),
    /// The job ends in this way, after another job has ended in another way.
    Ends(&'static str),
    /// The job ends before the answer that names it.
    EndsEarly,
    /// A thousand other jobs end before the answer.
    EndsAmongMany,
    /// Only another job ends.
    OtherEnds,
    /// The job fails, after somebody else on the bus has said that it is done.
    FailsAmidLies,
    /// The usual, after this many milliseconds.
    Late(u64),
    /// Nothing.
    Never,
    /// The usual, and it leaves the bus some time after, and comes back.
    LeavesLater(u64),
    /// It leaves the bus for good.
    Dies,
    /// This text, as the value of the property of this name.
    Text(&'static str),
    /// The first of these once, and from then on the last one.
    Then(&'static Answer, &'static Answer),
}

/// The bus and who is on it.
pub(crate) struct StandIn {
    daemon: Mutex<Child>,
    folder: TempDir,
    calls: Arc<Mutex<Vec<String>>>,
}

type Answers = BTreeMap<&'static str, Answer>;

impl StandIn {
    /// All is well, but for these: a method or property, and how it is answered.
    pub(crate) fn with(answers: &[(&'static str, Answer)]) -> StandIn {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("bus");
        let config = folder.path().join("config");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context='default'><allow send_destination='*' eavesdrop='true'/>\
             <allow eavesdrop='true'/><allow own='*'/></policy></busconfig>",
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .args(["--nofork", "--nopidfile", "--print-address"])
            .arg(format!("--config-file={}", config.display()))
            .stdout(Stdio::piped())
            // It complains of limits that it may not raise.
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon, of Debian's package dbus");
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let stand_in = StandIn { daemon: Mutex::new(daemon), folder, calls: Arc::default() };
        let (address, calls) = (stand_in.address(), Arc::clone(&stand_in.calls));
        let mut answers: Answers = answers.iter().copied().collect();
        let (ready, is_ready) = std::sync::mpsc::channel();
        thread::spawn(move || {
            // Until the bus goes, or it leaves for good.
            while let Ok(true) = zbus::block_on(serve(&address, &mut answers, &calls, &ready)) {}
        });
        is_ready.recv_timeout(Duration::from_secs(20)).expect("the stand-in is on the bus");
        stand_in
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.folder.path().join("bus").display())
    }

    /// The bus, with ample time for each call.
    pub(crate) fn bus(&self) -> Bus {
        Bus::at(&self.address(), Duration::from_secs(20)).unwrap()
    }

    /// The bus, with so little time for each call that a test can wait for it.
    pub(crate) fn hasty_bus(&self) -> Bus {
        self.bus().with_timeout(Duration::from_millis(400))
    }

    /// Notes something beside the calls.
    pub(crate) fn note(&self, what: &str) {
        self.calls.lock().unwrap().push(what.to_owned());
    }

    /// What it was asked since the last time, without what was only looked at.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// Ends the bus.
    pub(crate) fn end_bus(&self) {
        let mut daemon = self.daemon.lock().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.end_bus();
    }
}

/// Serves until the connection ends; whether it comes back.
async fn serve(
    address: &str,
    answers: &mut Answers,
    calls: &Mutex<Vec<String>>,
    ready: &std::sync::mpsc::Sender<()>,
) -> zbus::Result<bool> {
    let connect = || zbus::connection::Builder::address(address).build();
    let connection = connect().await?;
    let mut messages = MessageStream::from(&connection);
    connection.request_name("org.freedesktop.login1").await?;
    connection.request_name("org.freedesktop.systemd1").await?;
    // Nobody waits for it after the first time.
    let _ = ready.send(());
    let (mut subscribed, mut jobs, mut comes_back) = (false, 100, false);
    while let Some(message) = poll_fn(|context| Pin::new(&mut messages).poll_next(context)).await {
        // It may have left meanwhile.
        let Ok(message) = message else { break };
        if message.message_type() != Type::MethodCall {
            continue;
        }
        let header = message.header();
        assert!(!header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH));
        let method = header.member().unwrap().as_str().to_owned();
        let (name, noted) = described(&method, &message);
        calls.lock().unwrap().extend(noted);
        let mut answer = answers.get(name.as_str()).copied();
        if let Some(Answer::Then(first, last)) = answer {
            answers.retain(|key, _| *key != name);
            answers.insert(Box::leak(name.clone().into_boxed_str()), *last);
            answer = Some(*first);
        }
        if let Some(Answer::Late(after)) = answer {
            thread::sleep(Duration::from_millis(after));
            answer = None;
        }
        match answer {
            Some(Answer::Never) => continue,
            Some(Answer::LeavesLater(after)) => {
                comes_back = true;
                connection.reply(&header, &()).await?;
                let connection = connection.clone();
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(after));
                    zbus::block_on(connection.close())
                });
                continue;
            }
            Some(Answer::Dies) => return connection.close().await.map(|()| false),
            Some(Answer::Error(error)) => {
                connection.reply_error(&header, error, &("it was said so",)).await?;
                continue;
            }
            _ => {}
        }
        match (method.as_str(), answer) {
            ("Subscribe", _) => {
                subscribed = true;
                connection.reply(&header, &()).await?;
            }
            ("GetUnit", _) => connection.reply(&header, &ObjectPath::try_from("/unit")?).await?,
            ("Get", answer) => {
                let value = match (name.as_str(), answer) {
                    (_, Some(Answer::Text(text))) => text,
                    ("ActiveState", _) => "active",
                    _ => "/of/the/slice",
                };
                connection.reply(&header, &Variant::from(value)).await?;
            }
            ("Reexecute", _) => return connection.close().await.map(|()| true),
            ("ResetFailedUnit", _) => connection.reply(&header, &()).await?,
            (method, answer) if method.ends_with("Unit") => {
                assert!(subscribed, "systemd signals to nobody else");
                jobs += 1;
                let answer = answer.unwrap_or(Answer::Ends("done"));
                job(&connection, &message, jobs, answer, &connect().await?).await?;
            }
            _ => connection.reply(&header, &()).await?,
        }
    }
    Ok(comes_back)
}

/// What a call is about, for the table of answers, and how it is noted, if at all.
fn described(method: &str, message: &Message) -> (String, Option<String>) {
    let body = message.body();
    let unit = || body.deserialize::<(String, String)>().unwrap().0;
    let noted = match method {
        "Get" => return (body.deserialize::<(String, String)>().unwrap().1, None),
        "Subscribe" | "GetUnit" | "Ping" => None,
        "SetUserLinger" => {
            let (uid, on, interactive) = body.deserialize::<(u32, bool, bool)>().unwrap();
            assert!(!interactive);
            Some(format!("SetUserLinger {uid} {on}"))
        }
        "StartTransientUnit" => {
            type Properties<'a> = Vec<(String, Variant<'a>)>;
            type Others<'a> = Vec<(String, Properties<'a>)>;
            let (unit, mode, properties, _): (String, String, Properties<'_>, Others<'_>) =
                body.deserialize().unwrap();
            assert_eq!(mode, "fail");
            let names: Vec<String> = properties.into_iter().map(|(name, _)| name).collect();
            Some(format!("StartTransientUnit {unit} {}", names.join(",")).trim_end().to_owned())
        }
        "ResetFailedUnit" => Some(format!("{method} {}", body.deserialize::<(String,)>().unwrap().0)),
        _ if method.ends_with("Unit") => Some(format!("{method} {}", unit())),
        _ => Some(method.to_owned()),
    };
    (method.to_owned(), noted)
}

/// Answers with a job, and says how it and others end.
async fn job(
    connection: &Connection,
    call: &Message,
    id: u32,
    answer: Answer,
    liar: &Connection,
) -> zbus::Result<()> {
    let path = |id: u32| ObjectPath::try_from(format!("/org/freedesktop/systemd1/job/{id}")).unwrap();
    let ends = async |by: &Connection, id: u32, result: &str| {
        let body = (id, path(id), "any.service", result);
        by.emit_signal(None::<&str>, PATH, MANAGER, "JobRemoved", &body).await
    };
    let header = call.header();
    let job = path(id);
    match answer {
        Answer::EndsEarly => {
            ends(connection, id, "done").await?;
            connection.reply(&header, &job).await
        }
        Answer::EndsAmongMany => {
            for other in 1000..2000 {
                ends(connection, other, "failed").await?;
            }
            connection.reply(&header, &job).await?;
            ends(connection, id, "done").await
        }
        Answer::FailsAmidLies => {
            // To the caller alone: for such a signal the bus looks at no match rule.
            let body = (id, path(id), "any.service", "done");
            liar.emit_signal(header.sender(), PATH, MANAGER, "JobRemoved", &body).await?;
            // The bus keeps no order between two that send.
            thread::sleep(Duration::from_millis(100));
            connection.reply(&header, &job).await?;
            ends(connection, id, "failed").await
        }
        Answer::OtherEnds => {
            connection.reply(&header, &job).await?;
            ends(connection, id + 1000, "done").await
        }
        Answer::Ends(result) => {
            connection.reply(&header, &job).await?;
            ends(connection, id + 1000, if result == "done" { "failed" } else { "done" }).await?;
            ends(connection, id, result).await
        }
        other => unreachable!("{other:?} is no answer for a job"),
    }
}
