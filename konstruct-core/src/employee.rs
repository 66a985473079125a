//! The AI employee: who it is, what it may do, and when it works.

use std::ops::RangeInclusive;

use jiff::{civil::Time, civil::Weekday, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{EmployeeId, Error, NanoUsd, Result, Timestamp};

/// An AI employee. A tenant has one.
///
/// ```
/// use konstruct_core::Employee;
///
/// let ava = Employee::builder("Ava")
///     .role("front desk of Acme Bikes")
///     .persona("warm and brief")
///     .scope("bikes, repairs, opening hours and orders of Acme Bikes")
///     .language("en")
///     .tool("order_status")
///     .build()?;
/// assert_eq!(ava.name, "Ava");
///
/// let error = Employee::builder("").build().unwrap_err();
/// assert_eq!(error.message(), "name: must be 1 to 80 characters");
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Employee {
    /// Its id.
    pub id: EmployeeId,
    /// Its name, 1 to 80 characters.
    pub name: String,
    /// What it is employed as.
    pub role: String,
    /// How it speaks.
    pub persona: String,
    /// What of the business it may talk about. WhatsApp's terms forbid general-purpose assistants.
    pub scope: String,
    /// Instructions in your own words, shown to the model with the rules above: what to ask first, what never to promise, when to hand
    /// over. At most 20,000 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// The languages it answers in, as BCP 47 tags, the first by default. Empty: that of the person.
    #[serde(default)]
    pub languages: Vec<String>,
    /// When it works. `None`: always.
    #[serde(default)]
    pub hours: Option<WorkingHours>,
    /// The names of the tools that it may use. What is not here does not run, whatever a model says.
    #[serde(default)]
    pub tools: Vec<String>,
    /// What its model calls may cost in a calendar month (UTC). `None`: no cap.
    #[serde(default)]
    pub monthly_cap: Option<NanoUsd>,
    /// The sampling temperature of its answers, 0 to 2; models that take none ignore it. `None`: the provider's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// What it says when it cannot answer: the turn then leaves an open item for a person.
    #[serde(default = "default_fallback")]
    pub fallback: String,
    /// Other fixed sentences.
    #[serde(default)]
    pub phrases: Phrases,
    /// How far one turn may go.
    #[serde(default)]
    pub limits: TurnLimits,
}

fn default_fallback() -> String {
    "I'm sorry, I can't answer that right now. Please try again in a while.".into()
}

/// Fixed sentences that an employee says, in the language of the business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Phrases {
    /// What it says when the model does not answer in time: it will answer by itself later.
    pub deferred: String,
    /// What it says when the monthly cap leaves no money for an answer: a person has the question in the list of open items, and it is
    /// answered by itself if the cap is raised in time.
    pub cap_reached: String,
    /// What it says after the last part of a long reply that is sent.
    pub rest: String,
    /// The label of the choice with which the rest is asked for, at most 20 characters.
    pub rest_label: String,
}

impl Phrases {
    /// Returns them with changes.
    ///
    /// ```
    /// use konstruct_core::employee::Phrases;
    ///
    /// let german = Phrases::default().with(|phrases| phrases.rest_label = "Weiterlesen".into());
    /// assert_eq!(german.rest_label, "Weiterlesen");
    /// ```
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Default for Phrases {
    fn default() -> Self {
        Self {
            deferred: "I can't answer that right now. I'll reply here as soon as I can.".into(),
            cap_reached:
                "I can't answer that right now. I have passed your question on to a colleague."
                    .into(),
            rest: "There is more to this answer. Would you like the rest?".into(),
            rest_label: "Send the rest".into(),
        }
    }
}

/// How far one turn may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TurnLimits {
    /// Model calls, failed ones included.
    pub model_calls: u32,
    /// Tool calls.
    pub tool_calls: u32,
    /// Tokens of one answer.
    pub answer_tokens: u32,
    /// Messages of history that a model is shown.
    pub window_messages: u32,
    /// Tokens of history that a model is shown, as [`estimate_tokens`](crate::llm::estimate_tokens) counts them.
    pub window_tokens: u32,
    /// Milliseconds of quiet after a message before its turn begins, so that a burst becomes one turn. At most 10,000.
    pub burst_ms: u32,
    /// Turns in a row that another bot may cause.
    pub bot_turns: u32,
    /// Seconds to wait for word of a send whose outcome is unknown, before a person is asked.
    pub receipt_deadline_secs: u32,
    /// Seconds after which a person is told that the answer will come later, if the model has not answered. At least 5.
    pub deadline_secs: u32,
    /// Seconds for which the employee answers a question by itself that it could not answer at once; 0: never.
    pub question_age_secs: u32,
    /// The most messages of one reply; the rest is offered.
    pub reply_parts: u32,
    /// What becomes of a send whose outcome is unknown.
    pub unresolved: Unresolved,
    /// What becomes of a message that arrives in mid-turn.
    pub mid_turn: MidTurn,
}

impl TurnLimits {
    /// Returns them with changes.
    ///
    /// ```
    /// use konstruct_core::{Employee, employee::TurnLimits};
    ///
    /// let patient = TurnLimits::default().with(|limits| limits.deadline_secs = 120);
    /// let ava = Employee::builder("Ava").limits(patient).build()?;
    /// assert_eq!(ava.limits.deadline_secs, 120);
    /// # Ok::<(), konstruct_core::Error>(())
    /// ```
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self {
            model_calls: 8,
            tool_calls: 16,
            answer_tokens: 1024,
            window_messages: 40,
            window_tokens: 6_000,
            burst_ms: 300,
            bot_turns: 2,
            receipt_deadline_secs: 60,
            deadline_secs: 45,
            question_age_secs: 4 * 60 * 60,
            reply_parts: 4,
            unresolved: Unresolved::Ask,
            mid_turn: MidTurn::Fold,
        }
    }
}

/// What becomes of a send whose outcome nobody can tell, past the deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unresolved {
    /// A person is asked, and it is never sent again unasked.
    #[default]
    Ask,
    /// It is sent again: the owner would rather say a thing twice than not at all.
    Resend,
}

/// What becomes of a message that arrives while a turn is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MidTurn {
    /// It joins the turn if the model will be called again anyway; otherwise the next turn takes it.
    #[default]
    Fold,
    /// The next turn takes it.
    Queue,
}

/// When an employee works.
///
/// ```
/// use konstruct_core::{Employee, employee::WorkingHours};
///
/// let hours = WorkingHours::new("Europe/Berlin")
///     .open(1..=5, "09:00", "18:00")?
///     .open(6..=6, "10:00", "14:00")?;
/// let ava = Employee::builder("Ava").hours(hours).build()?;
/// assert!(WorkingHours::new("Europe/Berlin").open(1..=5, "9", "18:00").is_err());
/// # Ok::<(), konstruct_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkingHours {
    /// IANA name of the time zone, such as `Europe/Berlin`.
    pub time_zone: String,
    /// The open spans; days that are not named are closed.
    pub open: Vec<OpenSpan>,
    /// What to say outside of them, once a turn, instead of answering. Empty: answer all the same, knowing that it is closed.
    #[serde(default)]
    pub closed_message: String,
}

/// A span of a weekday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSpan {
    /// 1 is Monday, 7 is Sunday.
    pub weekday: u8,
    /// `HH:MM`, inclusive.
    pub from: Time,
    /// `HH:MM`, exclusive.
    pub to: Time,
}

impl WorkingHours {
    /// Makes hours without an open day, in an IANA time zone such as `Europe/Berlin`.
    pub fn new(time_zone: impl Into<String>) -> Self {
        Self {
            time_zone: time_zone.into(),
            open: Vec::new(),
            closed_message: String::new(),
        }
    }

    /// Opens weekdays, 1 (Monday) to 7 (Sunday), from a time to a time, as `HH:MM`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a time that is not `HH:MM`.
    pub fn open(mut self, weekdays: RangeInclusive<u8>, from: &str, to: &str) -> Result<Self> {
        let time = |field: &str, text: &str| {
            Time::strptime("%H:%M", text).map_err(|error| {
                Error::invalid(&format!("hours.{field}"), "expected a time as `HH:MM`")
                    .with_source(error)
            })
        };
        let (from, to) = (time("from", from)?, time("to", to)?);
        let spans = weekdays.map(|weekday| OpenSpan { weekday, from, to });
        self.open.extend(spans);
        Ok(self)
    }

    /// Sets what to say outside of them instead of answering.
    #[must_use]
    pub fn closed_message(mut self, text: impl Into<String>) -> Self {
        self.closed_message = text.into();
        self
    }

    /// Returns whether it is open at this time.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an unknown time zone.
    pub fn is_open(&self, at: Timestamp) -> Result<bool> {
        let zone = TimeZone::get(&self.time_zone).map_err(|error| {
            Error::invalid("hours.time_zone", "unknown time zone").with_source(error)
        })?;
        let local = jiff::Timestamp::from_microsecond(at.as_micros())
            .map_err(|error| Error::invalid("time", "outside the calendar").with_source(error))?
            .to_zoned_datetime(zone);
        let (day, time) = (local.weekday(), local.time());
        Ok(self.open.iter().any(|span| {
            Weekday::from_monday_one_offset(span.weekday.cast_signed())
                .is_ok_and(|open| open == day)
                && span.from <= time
                && time < span.to
        }))
    }

    fn validate(&self) -> Result<()> {
        self.is_open(Timestamp::default())?;
        for (i, span) in self.open.iter().enumerate() {
            if !(1..=7).contains(&span.weekday) {
                return Err(Error::invalid(
                    &format!("hours.open[{i}].weekday"),
                    "must be 1 (Monday) to 7 (Sunday)",
                ));
            }
            if span.from >= span.to {
                return Err(Error::invalid(
                    &format!("hours.open[{i}].to"),
                    "must be later than `from`",
                ));
            }
        }
        Ok(())
    }
}

impl Employee {
    /// Starts to describe an employee.
    pub fn builder(name: impl Into<String>) -> EmployeeBuilder {
        EmployeeBuilder {
            employee: Self {
                id: EmployeeId::new(),
                name: name.into(),
                role: "assistant of the business".into(),
                persona: "friendly, brief and honest".into(),
                scope: String::new(),
                instructions: String::new(),
                temperature: None,
                languages: Vec::new(),
                hours: None,
                tools: Vec::new(),
                monthly_cap: None,
                fallback: default_fallback(),
                phrases: Phrases::default(),
                limits: TurnLimits::default(),
            },
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) that names the first field that is wrong.
    pub fn validate(&self) -> Result<()> {
        length("name", &self.name, 1, 80)?;
        length("role", &self.role, 1, 500)?;
        length("persona", &self.persona, 0, 4000)?;
        length("scope", &self.scope, 0, 2000)?;
        length("instructions", &self.instructions, 0, 20_000)?;
        length("fallback", &self.fallback, 1, 1000)?;
        length("phrases.cap_reached", &self.phrases.cap_reached, 1, 1000)?;
        length("phrases.deferred", &self.phrases.deferred, 1, 1000)?;
        length("phrases.rest", &self.phrases.rest, 1, 1000)?;
        length("phrases.rest_label", &self.phrases.rest_label, 1, 20)?;
        for (i, language) in self.languages.iter().enumerate() {
            length(&format!("languages[{i}]"), language, 2, 35)?;
        }
        if let Some(hours) = &self.hours {
            hours.validate()?;
        }
        if self
            .temperature
            .is_some_and(|it| !(0.0..=2.0).contains(&it))
        {
            return Err(Error::invalid("temperature", "must be 0 to 2"));
        }
        let limits = &self.limits;
        if limits.burst_ms > 10_000 {
            return Err(Error::invalid("limits.burst_ms", "must be at most 10000"));
        }
        if limits.deadline_secs < 5 {
            return Err(Error::invalid("limits.deadline_secs", "must be at least 5"));
        }
        for (name, value, most) in [
            ("model_calls", limits.model_calls, 100),
            ("tool_calls", limits.tool_calls, 1000),
            ("answer_tokens", limits.answer_tokens, 100_000),
            ("reply_parts", limits.reply_parts, 50),
        ] {
            if !(1..=most).contains(&value) {
                return Err(Error::invalid(
                    &format!("limits.{name}"),
                    format!("must be 1 to {most}"),
                ));
            }
        }
        Ok(())
    }
}

fn length(field: &str, text: &str, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&text.trim().chars().count()) {
        Ok(())
    } else {
        Err(Error::invalid(
            field,
            format!("must be {least} to {most} characters"),
        ))
    }
}

/// Describes an employee, field by field.
#[derive(Clone, Debug)]
pub struct EmployeeBuilder {
    employee: Employee,
}

impl EmployeeBuilder {
    /// Says what it is employed as.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.employee.role = role.into();
        self
    }

    /// Says how it speaks.
    #[must_use]
    pub fn persona(mut self, persona: impl Into<String>) -> Self {
        self.employee.persona = persona.into();
        self
    }

    /// Says what of the business it may talk about.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.employee.scope = scope.into();
        self
    }

    /// Adds instructions in your own words, on a line of their own after those before.
    #[must_use]
    pub fn instructions(mut self, text: impl AsRef<str>) -> Self {
        let own = &mut self.employee.instructions;
        if !own.is_empty() {
            own.push('\n');
        }
        own.push_str(text.as_ref());
        self
    }

    /// Sets the sampling temperature of its answers, 0 to 2.
    #[must_use]
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.employee.temperature = Some(temperature);
        self
    }

    /// Adds a language that it answers in.
    #[must_use]
    pub fn language(mut self, tag: impl Into<String>) -> Self {
        self.employee.languages.push(tag.into());
        self
    }

    /// Says when it works.
    #[must_use]
    pub fn hours(mut self, hours: WorkingHours) -> Self {
        self.employee.hours = Some(hours);
        self
    }

    /// Grants a tool by its name.
    #[must_use]
    pub fn tool(mut self, name: impl Into<String>) -> Self {
        self.employee.tools.push(name.into());
        self
    }

    /// Caps what its model calls may cost in a month.
    #[must_use]
    pub fn monthly_cap(mut self, cap: NanoUsd) -> Self {
        self.employee.monthly_cap = Some(cap);
        self
    }

    /// Says what it says when no model can be had.
    #[must_use]
    pub fn fallback(mut self, text: impl Into<String>) -> Self {
        self.employee.fallback = text.into();
        self
    }

    /// Sets the other fixed sentences.
    #[must_use]
    pub fn phrases(mut self, phrases: Phrases) -> Self {
        self.employee.phrases = phrases;
        self
    }

    /// Says how far one turn may go.
    #[must_use]
    pub fn limits(mut self, limits: TurnLimits) -> Self {
        self.employee.limits = limits;
        self
    }

    /// Finishes the employee.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) that names the first field that is wrong.
    pub fn build(self) -> Result<Employee> {
        self.employee.validate()?;
        Ok(self.employee)
    }
}
