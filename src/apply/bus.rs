//! The only user of D-Bus: the few calls to systemd and logind that put files into effect. It decides
//! nothing; which calls are made, and what a failure means, is in [`super::activation`].
//!
//! Each call has a connection of its own and one deadline for everything from connecting to the end of a
//! job, so that a bus that accepts and never answers holds nothing up, and a manager that is executed again
//! leaves nothing stale. No call allows interactive authorization: nobody may be there to be asked.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream;
use serde::{Deserialize, Serialize};
use zbus::message::Type;
use zbus::{
    Connection, DynamicType, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant, Variant, fdo,
};
use zruntime::SharedRuntime;

/// Where the system bus listens. The D-Bus specification has `/var/run/dbus/system_bus_socket` ("Well-known
/// Message Bus Instances"), which is the same on every system with systemd (`file-hierarchy(7)`).
/// `DBUS_SYSTEM_BUS_ADDRESS` is not honoured: who runs as root with somebody else's environment shall not
/// be led to another bus.
pub const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// How long a call and the job it starts may take: the time that systemd itself gives a unit to start
/// (`systemd-system.conf(5)`, `DefaultTimeoutStartSec=`).
pub const CALL_TIMEOUT: Duration = Duration::from_secs(90);

/// How long `SetUserLinger` may take. It writes a file and queues a job; 25 s is what D-Bus libraries
/// give any call (`sd_bus_set_method_call_timeout(3)`).
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(25);

/// Between two looks at a manager that is being executed again.
const REEXECUTE_POLL: Duration = Duration::from_millis(50);

const SYSTEMD: &str = "org.freedesktop.systemd1";
const SYSTEMD_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SLICE: &str = "org.freedesktop.systemd1.Slice";
const LOGIND: &str = "org.freedesktop.login1";
const LOGIND_PATH: &str = "/org/freedesktop/login1";
const LOGIND_MANAGER: &str = "org.freedesktop.login1.Manager";
const DBUS: &str = "org.freedesktop.DBus";
const DBUS_PATH: &str = "/org/freedesktop/DBus";
const PEER: &str = "org.freedesktop.DBus.Peer";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Why a call came to nothing. It can be passed from one process to another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BusError {
    /// There is nothing to talk to.
    #[error("cannot reach the bus at {address}: {why}")]
    NoBus {
        /// The D-Bus address.
        address: String,
        /// The reason.
        why: String,
    },
    /// The caller may not do this (polkit, or the policy of the bus).
    #[error("{call} is not permitted: it takes root, or a polkit rule that allows it")]
    Denied {
        /// What was called.
        call: String,
    },
    /// A job ended in another way than it should have (`org.freedesktop.systemd1(5)`, `JobRemoved`).
    #[error("the job for {unit} ended with `{result}`: its journal says why")]
    Job {
        /// The unit.
        unit: String,
        /// How it ended, in systemd's words.
        result: String,
    },
    /// No answer, or no end of the job, in time.
    #[error("{call} has not come to an end within {after:?}")]
    Timeout {
        /// What was called.
        call: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// systemd has no such unit.
    #[error("there is no unit {unit}")]
    NoSuchUnit {
        /// The unit.
        unit: String,
    },
    /// A transient unit of this name is there already.
    #[error("there is a unit {unit} already")]
    UnitExists {
        /// The unit.
        unit: String,
    },
    /// A unit of the user manager does not get these controllers.
    #[error("units of the user manager do not get {}", .missing.join(", "))]
    NotDelegated {
        /// The controllers, by the kernel's names.
        missing: Vec<String>,
    },
    /// Anything else, in the words of whoever refused.
    #[error("{call} failed: {message}")]
    Failed {
        /// What was called.
        call: String,
        /// The message.
        message: String,
    },
}

/// What is asked of a manager for a unit (`org.freedesktop.systemd1(5)`, "Manager Object", `StartUnit()`
/// and those that follow it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop it if it runs, and start it.
    Restart,
    /// Reload it where it can be, else restart it.
    ReloadOrRestart,
    /// Have it read its configuration again.
    Reload,
}

impl Job {
    /// The method of the manager.
    fn method(self) -> &'static str {
        match self {
            Job::Start => "StartUnit",
            Job::Stop => "StopUnit",
            Job::Restart => "RestartUnit",
            Job::ReloadOrRestart => "ReloadOrRestartUnit",
            Job::Reload => "ReloadUnit",
        }
    }
}

/// A property of a transient unit: its name and value.
pub type Property = (&'static str, Variant<'static>);

/// A bus with a systemd manager on it: the system's, or that of a user.
#[derive(Clone, Debug)]
pub struct Bus {
    address: String,
    timeout: Duration,
}

impl Bus {
    /// The system bus, with [`CALL_TIMEOUT`].
    ///
    /// # Errors
    /// [`BusError::NoBus`], [`BusError::Timeout`].
    pub fn system() -> Result<Bus, BusError> {
        Bus::at(SYSTEM_BUS, CALL_TIMEOUT)
    }

    /// The bus at a D-Bus address, each call to which may take this long.
    ///
    /// # Errors
    /// [`BusError::NoBus`], [`BusError::Timeout`].
    pub fn at(address: &str, timeout: Duration) -> Result<Bus, BusError> {
        let bus = Bus { address: address.to_owned(), timeout };
        let call = format!("connecting to {address}");
        bus.within(timeout, &call, async |_| Ok(()))?;
        Ok(bus)
    }

    /// The same bus with another time for each call.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Bus {
        Bus { address: self.address.clone(), timeout }
    }

    /// Has the manager read its unit files again, and waits until it has (`Manager.Reload`).
    ///
    /// # Errors
    /// See [`BusError`].
    pub fn reload(&self) -> Result<(), BusError> {
        let call = "systemd's Reload";
        self.within(self.timeout, call, async |connection| {
            manager(&connection, "Reload", &()).await.map(drop).map_err(|error| failure(call, &error))
        })
    }

    /// Has the manager execute itself again, and waits until it answers again (`Manager.Reexecute`). There
    /// is no reply: the manager drops its connection instead (systemd, `src/core/dbus-manager.c`,
    /// `method_reexecute`), and takes its name again with another one.
    ///
    /// # Errors
    /// See [`BusError`].
    pub fn reexecute(&self) -> Result<(), BusError> {
        let call = "systemd's Reexecute";
        self.within(self.timeout, call, async |connection| {
            let failed = |error| failure(call, &error);
            let ping = async || call_method(&connection, SYSTEMD, SYSTEMD_PATH, PEER, "Ping", &()).await;
            // The user's bus starts with the first connection to it, and the manager comes to it after
            // that: a call to its name is kept for it, a question for its owner is not.
            ping().await.map_err(failed)?;
            let before = owner(&connection, SYSTEMD).await.map_err(failed)?;
            match manager(&connection, "Reexecute", &()).await {
                Err(zbus::Error::FDO(error)) if matches!(*error, fdo::Error::NoReply(_)) => {}
                other => drop(other.map_err(failed)?),
            }
            let runtime = SharedRuntime::current().map_err(|error| failed(error.into()))?;
            loop {
                let now = match owner(&connection, SYSTEMD).await {
                    Err(zbus::Error::FDO(error)) if matches!(*error, fdo::Error::NameHasNoOwner(_)) => None,
                    other => Some(other.map_err(failed)?),
                };
                // It takes messages from its queue when it has started; before, it would only not answer.
                if now.is_some_and(|now| now != before) && ping().await.is_ok() {
                    return Ok(());
                }
                runtime.sleep(REEXECUTE_POLL).await;
            }
        })
    }

    /// Asks for a job and waits until it has come to its end.
    ///
    /// # Errors
    /// [`BusError::Job`] where the end is another one than `done` or `skipped`, which `systemctl(1)` takes
    /// for success too; see [`BusError`] for the rest.
    pub fn job(&self, kind: Job, unit: &str) -> Result<(), BusError> {
        self.run_job(kind.method(), unit, &(unit, "replace"))
    }

    /// Has the manager forget that a unit failed, and how often it was started (`systemctl(1)`,
    /// "reset-failed"): one that reached its `StartLimitBurst=` is not started otherwise.
    ///
    /// # Errors
    /// See [`BusError`]. A unit that is not loaded has nothing to forget, which is none.
    pub fn reset_failed(&self, unit: &str) -> Result<(), BusError> {
        let call = &format!("systemd's ResetFailedUnit {unit}");
        let done = self.within(self.timeout, call, async |connection| {
            let reset = manager(&connection, "ResetFailedUnit", &(unit,)).await;
            reset.map(drop).map_err(|error| unit_failure(call, unit, &error))
        });
        match done {
            Err(BusError::NoSuchUnit { .. }) => Ok(()),
            other => other,
        }
    }

    /// The `ActiveState` of a unit; `inactive` for one that is not loaded.
    ///
    /// # Errors
    /// See [`BusError`].
    pub fn unit_active_state(&self, unit: &str) -> Result<String, BusError> {
        match self.unit_property(unit, UNIT, "ActiveState") {
            Err(BusError::NoSuchUnit { .. }) => Ok("inactive".to_owned()),
            other => other,
        }
    }

    /// The cgroup of a slice, below the root of the hierarchy, with a slash in front.
    ///
    /// # Errors
    /// See [`BusError`].
    pub fn slice_control_group(&self, slice: &str) -> Result<String, BusError> {
        self.unit_property(slice, SLICE, "ControlGroup")
    }

    /// Does something while there is a transient slice of this name with these properties
    /// (`Manager.StartTransientUnit`). A slice takes no program, and nothing is left of it when it has
    /// been stopped, which it is whatever `meanwhile` came to. One that is left over from a run that
    /// was killed is replaced.
    ///
    /// # Errors
    /// Those of `meanwhile` first; see [`BusError`].
    pub fn with_transient_slice<T>(
        &self,
        slice: &str,
        properties: &[Property],
        meanwhile: impl FnOnce(&Bus) -> Result<T, BusError>,
    ) -> Result<T, BusError> {
        const NO_OTHERS: &[(&str, &[Property])] = &[];
        let start = || self.run_job("StartTransientUnit", slice, &(slice, "fail", properties, NO_OTHERS));
        match start() {
            Err(BusError::UnitExists { .. }) => {
                self.job(Job::Stop, slice)?;
                start()?;
            }
            other => other?,
        }
        let came_to = meanwhile(self);
        let stopped = self.job(Job::Stop, slice);
        came_to.and_then(|value| stopped.map(|()| value))
    }

    /// Has a user linger or not (`login1.Manager.SetUserLinger`, without asking anybody). logind starts
    /// the user manager, or stops it some time after the last session, and does not wait for either.
    ///
    /// # Errors
    /// See [`BusError`].
    pub fn set_linger(&self, uid: u32, on: bool) -> Result<(), BusError> {
        let call = &format!("logind's SetUserLinger for UID {uid}");
        self.within(self.timeout.min(LINGER_TIMEOUT), call, async |connection| {
            call_method(&connection, LOGIND, LOGIND_PATH, LOGIND_MANAGER, "SetUserLinger", &(uid, on, false))
                .await
                .map(drop)
                .map_err(|error| failure(call, &error))
        })
    }

    /// Connects, does the work, closes, all in this time.
    #[expect(clippy::disallowed_methods, reason = "the only connection to D-Bus")]
    fn within<T>(
        &self,
        timeout: Duration,
        call: &str,
        work: impl AsyncFnOnce(Connection) -> Result<T, BusError>,
    ) -> Result<T, BusError> {
        let no_bus = |why| BusError::NoBus { address: self.address.clone(), why };
        let all = async {
            let connection = zbus::connection::Builder::address(self.address.as_str())
                .build()
                .await
                .map_err(|error| no_bus(unreachable_because(&error)))?;
            let came_to = work(connection.clone()).await;
            // What was asked for is settled, and the socket goes with the connection.
            let _ = connection.close().await;
            came_to
        };
        zbus::block_on(async {
            let runtime = SharedRuntime::current().map_err(|error| no_bus(error.to_string()))?;
            match runtime.timeout(timeout, pin!(all)).await {
                Ok(came_to) => came_to,
                Err(_) => Err(BusError::Timeout { call: call.to_owned(), after: timeout }),
            }
        })
    }

    /// Calls what answers with a job, and waits for the end of that job.
    fn run_job<B>(&self, method: &str, unit: &str, body: &B) -> Result<(), BusError>
    where
        B: Serialize + DynamicType,
    {
        let call = &format!("systemd's {method} {unit}");
        let result = self.within(self.timeout, call, async |connection| {
            job_result(&connection, method, body).await.map_err(|error| unit_failure(call, unit, &error))
        })?;
        match result.as_str() {
            "done" | "skipped" => Ok(()),
            _ => Err(BusError::Job { unit: unit.to_owned(), result }),
        }
    }

    /// A property of a loaded unit that is a text.
    fn unit_property(&self, unit: &str, interface: &str, name: &str) -> Result<String, BusError> {
        let call = &format!("systemd's {name} of {unit}");
        self.within(self.timeout, call, async |connection| {
            let get = async {
                let reply = manager(&connection, "GetUnit", &(unit,)).await?;
                let path: OwnedObjectPath = reply.body().deserialize()?;
                let body = (interface, name);
                let reply =
                    call_method(&connection, SYSTEMD, path.as_str(), PROPERTIES, "Get", &body).await?;
                let value: OwnedVariant = reply.body().deserialize()?;
                String::try_from(value)
            };
            get.await.map_err(|error| unit_failure(call, unit, &error))
        })
    }
}

async fn call_method<B>(
    connection: &Connection,
    service: &str,
    path: &str,
    interface: &str,
    method: &str,
    body: &B,
) -> zbus::Result<Message>
where
    B: Serialize + DynamicType,
{
    connection.call_method(Some(service), path, Some(interface), method, body).await
}

/// Calls a method of the manager.
fn manager<B>(connection: &Connection, method: &str, body: &B) -> impl Future<Output = zbus::Result<Message>>
where
    B: Serialize + DynamicType,
{
    call_method(connection, SYSTEMD, SYSTEMD_PATH, MANAGER, method, body)
}

/// The connection that has this name now.
async fn owner(connection: &Connection, name: &str) -> zbus::Result<String> {
    call_method(connection, DBUS, DBUS_PATH, DBUS, "GetNameOwner", &(name,)).await?.body().deserialize()
}

/// How the job ended that this call answers with. The signal that says so may come before the answer, and
/// those of any number of other jobs with it.
async fn job_result<B>(connection: &Connection, method: &str, body: &B) -> zbus::Result<String>
where
    B: Serialize + DynamicType,
{
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SYSTEMD)
        .path(SYSTEMD_PATH)
        .interface(MANAGER)
        .member("JobRemoved")
        .build()?;
    let mut signals = MessageStream::for_match_rule(rule, connection, None).await?;
    manager(connection, "Subscribe", &()).await?;
    let mut call = pin!(manager(connection, method, body));
    let mut early = Vec::new();
    // The stream is emptied all the while: where its queue is full, no answer gets through either.
    let reply = poll_fn(|context| {
        while let Poll::Ready(Some(signal)) = Pin::new(&mut signals).poll_next(context) {
            early.push(signal);
        }
        call.as_mut().poll(context)
    })
    .await?;
    let job: OwnedObjectPath = reply.body().deserialize()?;
    let mut early = early.into_iter();
    loop {
        let signal = match early.next() {
            Some(signal) => signal,
            None => poll_fn(|context| Pin::new(&mut signals).poll_next(context))
                .await
                .ok_or_else(|| zbus::Error::Failure("the bus has closed the connection".to_owned()))?,
        }?;
        // Anybody on a bus may send a signal to anybody.
        if signal.header().sender() != reply.header().sender() {
            continue;
        }
        let (_, ended, _, result): (u32, OwnedObjectPath, String, String) = signal.body().deserialize()?;
        if ended == job {
            return Ok(result);
        }
    }
}

/// What an operator can do something about.
fn unreachable_because(error: &zbus::Error) -> String {
    use std::io::ErrorKind;
    match error {
        zbus::Error::InputOutput(error) | zbus::Error::Connection(error, _) => match error.kind() {
            ErrorKind::NotFound => {
                "there is no such socket: D-Bus is not installed or not started".to_owned()
            }
            ErrorKind::ConnectionRefused => "nobody listens there: D-Bus is not running".to_owned(),
            ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        },
        zbus::Error::Handshake(why) => format!("it does not let this user in ({why})"),
        other => other.to_string(),
    }
}

fn failure(call: &str, error: &zbus::Error) -> BusError {
    let failed = |message: &str| BusError::Failed { call: call.to_owned(), message: message.to_owned() };
    match error {
        zbus::Error::FDO(error) => match &**error {
            fdo::Error::AccessDenied(_)
            | fdo::Error::AuthFailed(_)
            | fdo::Error::InteractiveAuthorizationRequired(_) => BusError::Denied { call: call.to_owned() },
            fdo::Error::NoReply(_) => failed("it left the bus without an answer"),
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => failed("it is not on this bus"),
            other => failed(&other.to_string()),
        },
        zbus::Error::MethodError(name, message, _) => failed(message.as_deref().unwrap_or(name.as_str())),
        zbus::Error::InputOutput(error) => failed(&error.to_string()),
        other => failed(&other.to_string()),
    }
}

/// The same for a call about a unit. The names are in systemd, `src/libsystemd/sd-bus/bus-common-errors.h`.
fn unit_failure(call: &str, unit: &str, error: &zbus::Error) -> BusError {
    if let zbus::Error::MethodError(name, _, _) = error {
        match name.as_str() {
            "org.freedesktop.systemd1.NoSuchUnit" => return BusError::NoSuchUnit { unit: unit.to_owned() },
            "org.freedesktop.systemd1.UnitExists" => return BusError::UnitExists { unit: unit.to_owned() },
            _ => {}
        }
    }
    failure(call, error)
}
