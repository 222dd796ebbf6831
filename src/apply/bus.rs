//! The only D-Bus user: systemd's manager, on the system's bus and on a user's own, and logind.
//!
//! Interfaces: `org.freedesktop.systemd1(5)`, `org.freedesktop.login1(5)`. Each call has a time limit,
//! connecting included: a bus can take a connection and never say a word.

use std::pin::Pin;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zbus::export::futures_core::Stream;
use zbus::message::Type;
use zbus::zvariant::DynamicType;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

/// Where the system's bus listens (D-Bus Specification, "System Message Bus Instance").
pub const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// A reload of a large system, or the start of a unit.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a manager that executes itself again may be silent.
const REEXECUTION: Duration = Duration::from_secs(20);

const SYSTEMD: &str = "org.freedesktop.systemd1";
const SYSTEMD_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const LOGIND: &str = "org.freedesktop.login1";
const LOGIND_PATH: &str = "/org/freedesktop/login1";
const LOGIND_MANAGER: &str = "org.freedesktop.login1.Manager";

/// Why a call had no success. It crosses the pipe from a process that acts for a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum BusError {
    /// Nobody listens.
    #[error("no bus at {address}: {why}")]
    NoBus {
        /// The address.
        address: String,
        /// What the system said.
        why: String,
    },
    /// polkit, or the bus itself, does not let this caller.
    #[error("{call} is not allowed to this user: run it as root")]
    Denied {
        /// What was called.
        call: String,
    },
    /// There is no such unit.
    #[error("{call}: there is no unit {unit}")]
    NoSuchUnit {
        /// What was called.
        call: String,
        /// The unit.
        unit: String,
    },
    /// The job was carried out, and the unit did not do what it should.
    #[error("{unit} ended as {result:?}: systemctl status {unit} says why")]
    Job {
        /// The unit.
        unit: String,
        /// What systemd said of the job: `failed`, `timeout`, `dependency`, `canceled`, ...
        result: String,
    },
    /// No answer.
    #[error("{call} was not answered within {seconds} seconds")]
    Timeout {
        /// What was called.
        call: String,
        /// How long we waited.
        seconds: u64,
    },
    /// Anything else.
    #[error("{call}: {why}")]
    Failed {
        /// What was called.
        call: String,
        /// What came back.
        why: String,
    },
}

/// What a job does with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Job {
    /// `StartUnit`.
    Start,
    /// `StopUnit`.
    Stop,
    /// `RestartUnit`.
    Restart,
    /// `ReloadOrRestartUnit`.
    ReloadOrRestart,
}

impl Job {
    fn method(self) -> &'static str {
        match self {
            Job::Start => "StartUnit",
            Job::Stop => "StopUnit",
            Job::Restart => "RestartUnit",
            Job::ReloadOrRestart => "ReloadOrRestartUnit",
        }
    }
}

/// A call on a user's own bus, which only a process of that user may make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserCall {
    /// The user manager reads its unit files again.
    Reload,
    /// The user manager executes itself again; its units keep running.
    Reexecute,
    /// A job.
    Job {
        /// What it does.
        job: Job,
        /// The unit.
        unit: String,
    },
    /// The cgroup of a unit with `Delegate=yes` that is started for this and stopped again, so that its
    /// controllers can be read: the answer is the content of its `cgroup.controllers`.
    DelegatedControllers,
}

impl UserCall {
    /// In a few words.
    pub fn describe(&self) -> String {
        match self {
            UserCall::Reload => "the reload of the user manager".to_owned(),
            UserCall::Reexecute => "the re-execution of the user manager".to_owned(),
            UserCall::Job { job, unit } => format!("{} {unit}", job.method()),
            UserCall::DelegatedControllers => "the start of a delegated unit".to_owned(),
        }
    }

    /// Makes the call on the bus of `uid`, who must be the caller.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn perform(&self, uid: u32) -> Result<String, BusError> {
        let bus = Bus::at(&format!("unix:path=/run/user/{uid}/bus"));
        match self {
            UserCall::Reload => bus.reload()?,
            UserCall::Reexecute => bus.reexecute()?,
            UserCall::Job { job, unit } => bus.job(*job, unit)?,
            UserCall::DelegatedControllers => return bus.delegated_controllers(),
        }
        Ok(String::new())
    }
}

/// A bus. Each call connects anew, so that none waits behind another.
#[derive(Clone, Debug)]
pub struct Bus {
    address: String,
    patience: Duration,
}

impl Bus {
    /// The system's. The environment, which may be an unprivileged caller's, is not asked where it is.
    pub fn system() -> Bus {
        Bus::at(SYSTEM_BUS)
    }

    /// The bus at an address.
    pub fn at(address: &str) -> Bus {
        Bus { address: address.to_owned(), patience: PATIENCE }
    }

    /// With another time limit for each call.
    pub fn with_patience(self, patience: Duration) -> Bus {
        Bus { patience, ..self }
    }

    /// The manager reads its unit files again: `Reload`.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn reload(&self) -> Result<(), BusError> {
        self.run("Reload", |connection| async move {
            call(&connection, MANAGER, "Reload", &()).await.map(drop)
        })
    }

    /// The manager executes itself again: `Reexecute`. The reply gets lost with the connection, so that
    /// success is that the manager answers afterwards.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn reexecute(&self) -> Result<(), BusError> {
        let sent = self.run("Reexecute", |connection| async move {
            match call(&connection, MANAGER, "Reexecute", &()).await {
                Err(BusError::Failed { .. } | BusError::Timeout { .. }) | Ok(_) => Ok(()),
                Err(error) => Err(error),
            }
        });
        match sent {
            Ok(()) | Err(BusError::Timeout { .. }) => {}
            Err(error) => return Err(error),
        }
        let begun = Instant::now();
        loop {
            // Without a pause the answer could be that of the manager that has not gone yet.
            std::thread::sleep(Duration::from_millis(100));
            match self.version() {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > REEXECUTION.min(self.patience) => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// The manager's version, as it says it.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn version(&self) -> Result<String, BusError> {
        self.run("Version", |connection| async move {
            property(&connection, SYSTEMD_PATH, MANAGER, "Version").await
        })
    }

    /// Carries out a job, and waits until it is done.
    ///
    /// # Errors
    /// [`BusError`]; [`BusError::Job`] where the job ended as anything but `done`.
    pub fn job(&self, job: Job, unit: &str) -> Result<(), BusError> {
        let unit = unit.to_owned();
        self.run(&format!("{} {unit}", job.method()), move |connection| async move {
            let mut removed = jobs_removed(&connection).await?;
            let reply = call(&connection, MANAGER, job.method(), &(&unit, "replace")).await?;
            wait_for(&mut removed, &reply, &unit).await
        })
    }

    /// `ActiveState` of a unit: `active`, `inactive`, `failed`, ...
    ///
    /// # Errors
    /// [`BusError`].
    pub fn active_state(&self, unit: &str) -> Result<String, BusError> {
        let unit = unit.to_owned();
        self.run(&format!("ActiveState of {unit}"), move |connection| async move {
            let reply = call(&connection, MANAGER, "LoadUnit", &(&unit,)).await?;
            let path: OwnedObjectPath = body(&reply, "LoadUnit")?;
            property(&connection, path.as_str(), "org.freedesktop.systemd1.Unit", "ActiveState").await
        })
    }

    /// Starts a slice that nothing is in, and stops it again: systemd makes its cgroup, and for that looks at
    /// what the slices above it hand down.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn touch_slice(&self, slice: &str) -> Result<(), BusError> {
        let slice = slice.to_owned();
        self.run(&format!("StartTransientUnit {slice}"), move |connection| async move {
            start_transient(&connection, &slice, &[]).await?;
            let mut removed = jobs_removed(&connection).await?;
            let reply = call(&connection, MANAGER, "StopUnit", &(&slice, "replace")).await?;
            wait_for(&mut removed, &reply, &slice).await
        })
    }

    /// See [`UserCall::DelegatedControllers`].
    fn delegated_controllers(&self) -> Result<String, BusError> {
        // A service needs a program. This one waits for a line that never comes, and is stopped.
        const UNIT: &str = "edgeprep-delegation.service";
        self.run("StartTransientUnit of a delegated unit", |connection| async move {
            let arguments = vec!["/bin/sleep".to_owned(), "60".to_owned()];
            let start = vec![("/bin/sleep".to_owned(), arguments, false)];
            start_transient(&connection, UNIT, &[("Delegate", Variant::from(true)), ("ExecStart", Variant::from(start))])
                .await?;
            let reply = call(&connection, MANAGER, "GetUnit", &(UNIT,)).await?;
            let path: OwnedObjectPath = body(&reply, "GetUnit")?;
            let group =
                property(&connection, path.as_str(), "org.freedesktop.systemd1.Service", "ControlGroup").await?;
            let mut removed = jobs_removed(&connection).await?;
            let controllers = super::kernel::controllers(&group);
            let reply = call(&connection, MANAGER, "StopUnit", &(UNIT, "replace")).await?;
            wait_for(&mut removed, &reply, UNIT).await?;
            controllers
                .map_err(|error| BusError::Failed { call: format!("cgroup.controllers of {group}"), why: error })
        })
    }

    /// Whether a user lingers: `SetUserLinger`. Nobody is asked for a password.
    ///
    /// # Errors
    /// [`BusError`].
    pub fn set_linger(&self, uid: u32, on: bool) -> Result<(), BusError> {
        self.run("SetUserLinger", move |connection| async move {
            let reply = connection
                .call_method(Some(LOGIND), LOGIND_PATH, Some(LOGIND_MANAGER), "SetUserLinger", &(uid, on, false))
                .await;
            reply.map(drop).map_err(|error| failed("SetUserLinger", &error))
        })
    }

    /// Makes a call in a thread of its own, which is left behind when it takes too long.
    fn run<T, F, R>(&self, what: &str, call: F) -> Result<T, BusError>
    where
        T: Send + 'static,
        R: Future<Output = Result<T, BusError>>,
        F: FnOnce(Connection) -> R + Send + 'static,
    {
        let (sender, receiver) = std::sync::mpsc::channel();
        let address = self.address.clone();
        std::thread::spawn(move || {
            let result = zbus::block_on(async {
                let connection = match zbus::connection::Builder::address(address.as_str()).build().await {
                    Ok(connection) => connection,
                    Err(error) => return Err(BusError::NoBus { address, why: error.to_string() }),
                };
                call(connection).await
            });
            // Whoever asked may have given up.
            let _ = sender.send(result);
        });
        receiver.recv_timeout(self.patience).unwrap_or_else(|_| {
            Err(BusError::Timeout { call: what.to_owned(), seconds: self.patience.as_secs() })
        })
    }
}

async fn call<B>(connection: &Connection, interface: &str, method: &str, body: &B) -> Result<Message, BusError>
where
    B: Serialize + DynamicType,
{
    let reply = connection.call_method(Some(SYSTEMD), SYSTEMD_PATH, Some(interface), method, body).await;
    reply.map_err(|error| failed(method, &error))
}

async fn property(connection: &Connection, path: &str, interface: &str, name: &str) -> Result<String, BusError> {
    const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
    let reply = connection.call_method(Some(SYSTEMD), path, Some(PROPERTIES), "Get", &(interface, name)).await;
    let value: OwnedVariant = body(&reply.map_err(|error| failed(name, &error))?, name)?;
    String::try_from(value).map_err(|error| BusError::Failed { call: name.to_owned(), why: error.to_string() })
}

fn body<T>(reply: &Message, call: &str) -> Result<T, BusError>
where
    T: serde::de::DeserializeOwned + zbus::zvariant::Type,
{
    reply.body().deserialize().map_err(|error| BusError::Failed { call: call.to_owned(), why: error.to_string() })
}

async fn start_transient(
    connection: &Connection,
    unit: &str,
    properties: &[(&str, Variant<'_>)],
) -> Result<(), BusError> {
    let mut removed = jobs_removed(connection).await?;
    let auxiliary: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
    let reply =
        call(connection, MANAGER, "StartTransientUnit", &(unit, "replace", properties, auxiliary)).await?;
    wait_for(&mut removed, &reply, unit).await
}

/// The ends of jobs, from before a job is begun, so that none is missed.
async fn jobs_removed(connection: &Connection) -> Result<MessageStream, BusError> {
    let rule =
        MatchRule::builder().msg_type(Type::Signal).sender(SYSTEMD).interface(MANAGER).member("JobRemoved").build();
    let rule = rule.map_err(|error| failed("JobRemoved", &error.into()))?;
    let stream =
        MessageStream::for_match_rule(rule, connection, None).await.map_err(|error| failed("JobRemoved", &error))?;
    // Signals of jobs are sent only while somebody has subscribed.
    call(connection, MANAGER, "Subscribe", &()).await?;
    Ok(stream)
}

/// Waits until the job that `reply` names is done.
async fn wait_for(removed: &mut MessageStream, reply: &Message, unit: &str) -> Result<(), BusError> {
    let ours: OwnedObjectPath = body(reply, unit)?;
    loop {
        let next = std::future::poll_fn(|context| Pin::new(&mut *removed).poll_next(context)).await;
        let message = match next {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(failed(unit, &error)),
            None => {
                return Err(BusError::Failed { call: unit.to_owned(), why: "the bus went away".to_owned() });
            }
        };
        let (_, job, _, result): (u32, OwnedObjectPath, String, String) = body(&message, "JobRemoved")?;
        if job == ours {
            return match result.as_str() {
                "done" => Ok(()),
                _ => Err(BusError::Job { unit: unit.to_owned(), result }),
            };
        }
    }
}

fn failed(call: &str, error: &zbus::Error) -> BusError {
    let call = call.to_owned();
    let (name, why) = match error {
        zbus::Error::MethodError(name, why, _) => (name.to_string(), why.clone().unwrap_or_default()),
        zbus::Error::FDO(error) => {
            use zbus::DBusError;
            (error.name().to_string(), error.description().unwrap_or_default().to_owned())
        }
        other => (String::new(), other.to_string()),
    };
    match name.rsplit('.').next().unwrap_or_default() {
        "AccessDenied" | "InteractiveAuthorizationRequired" | "AuthFailed" => BusError::Denied { call },
        "NoSuchUnit" => BusError::NoSuchUnit { call, unit: why },
        _ => BusError::Failed { call, why: if why.is_empty() { name } else { why } },
    }
}
