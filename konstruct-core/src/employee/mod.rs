//! The AI employee: its role, its tools, its working hours and its limits.

mod hours;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::hours::{HoursException, OpenSpan, TimeOfDay, TimeSpan, WorkingHours};
pub(crate) use self::hours::{Opening, local};
use crate::{
    EmployeeId, Error, NanoUsd, Result, Timestamp,
    limit::{Cap, CapScope, Period, RateLimits, validate_caps},
};

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
    /// The employee's id.
    pub id: EmployeeId,
    /// The name, 1 to 80 characters.
    pub name: String,
    /// The role in the business.
    pub role: String,
    /// The manner of speaking.
    pub persona: String,
    /// The subjects that it may talk about. WhatsApp's terms forbid general-purpose assistants.
    pub scope: String,
    /// Free-form instructions, which are shown to the model in addition to the fields above: what to ask first, what never to
    /// promise, when to hand over. At most 20,000 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// The languages of its answers, as BCP 47 tags; the first is the default. Empty: the language of the person.
    #[serde(default)]
    pub languages: Vec<String>,
    /// The working hours; `None` for always.
    #[serde(default)]
    pub hours: Option<WorkingHours>,
    /// The names of the tools that it may use. Other tools are never run, even if a model requests them.
    #[serde(default)]
    pub tools: Vec<String>,
    /// The most that may be spent, at most one cap for each scope and period.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<Cap>,
    /// The sampling temperature of its answers, 0 to 2, which models without one ignore; `None` for the provider's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// The reply if the employee cannot answer. The turn then leaves an open item for a person.
    #[serde(default = "default_fallback")]
    pub fallback: String,
    /// Other fixed phrases.
    #[serde(default)]
    pub phrases: Phrases,
    /// The limits of a turn.
    #[serde(default)]
    pub limits: TurnLimits,
    /// The limits on how often it answers.
    #[serde(default)]
    pub rates: RateLimits,
}

fn default_fallback() -> String {
    "I'm sorry, I can't answer that right now. Please try again in a while.".into()
}

/// Fixed phrases of an employee, in the language of the business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Phrases {
    /// Sent if the model does not answer in time. The employee answers by itself later.
    pub deferred: String,
    /// Sent if the monthly cap leaves no money for an answer. A person finds the question in the list of open items. The employee
    /// answers it by itself if the cap is raised in time.
    pub cap_reached: String,
    /// Sent if a rate limit delays the answer for longer than [`RateLimits::patience_secs`]. The employee answers by itself later.
    pub busy: String,
    /// Sent if a person sends something that the channel does not pass on, such as a poll. Of several in a row, only the first is
    /// answered.
    pub unreadable: String,
    /// Sent if a person sends only a voice message or a recording, and the employee has no transcriber.
    pub cannot_listen: String,
    /// Sent if nobody speaks in a recording.
    pub nothing_heard: String,
    /// Sent if a person sends only an image or a video that the model cannot see.
    pub cannot_see: String,
    /// Sent if a person sends only a file that cannot be read, for example because it is encrypted.
    pub cannot_read: String,
    /// Sent if a file is too large, or if there are too many.
    pub too_large: String,
    /// Sent if a file could not be downloaded or transcribed.
    pub not_received: String,
    /// Sent after the last part of a long reply that has a rest.
    pub rest: String,
    /// The label of the button that requests the rest, at most 20 characters.
    pub rest_label: String,
}

impl Phrases {
    /// Applies changes to the fields.
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
            busy: "I'm getting a lot of messages right now. I'll reply here as soon as I can."
                .into(),
            unreadable: "I'm sorry, I can't open this kind of message. Could you write it as text?"
                .into(),
            cannot_listen:
                "I'm sorry, I can't listen to voice messages. Could you write it as text?".into(),
            nothing_heard: "I'm sorry, I can't hear anything in your recording. Could you send it \
                            again, or write it as text?"
                .into(),
            cannot_see: "I'm sorry, I can't look at pictures and videos. Could you describe it in \
                         words?"
                .into(),
            cannot_read: "I'm sorry, I can't read this file. Could you send it in another format, \
                          or write what you need as text?"
                .into(),
            too_large: "I'm sorry, that is too large for me. Could you send a smaller part, or \
                        write what you need as text?"
                .into(),
            not_received: "I'm sorry, I couldn't open what you sent. Could you send it again, or \
                           write it as text?"
                .into(),
            rest: "There is more to this answer. Would you like the rest?".into(),
            rest_label: "Send the rest".into(),
        }
    }
}

/// The limits of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TurnLimits {
    /// The maximum number of model calls, including failed ones.
    pub model_calls: u32,
    /// The maximum number of tool calls.
    pub tool_calls: u32,
    /// The maximum number of tokens of an answer.
    pub answer_tokens: u32,
    /// The maximum number of messages of history that a model is shown.
    pub window_messages: u32,
    /// The maximum number of tokens of history that a model is shown, as counted by [`estimate_tokens`](crate::llm::estimate_tokens).
    pub window_tokens: u32,
    /// Milliseconds of silence after a message before its turn begins, so that several messages in a row become one turn. At most
    /// 10,000.
    pub burst_ms: u32,
    /// The most consecutive turns that another bot may cause.
    pub bot_turns: u32,
    /// Seconds to wait for the provider's report about a send with an unknown outcome, before a person is asked.
    pub receipt_deadline_secs: u32,
    /// Seconds after which the person is told that the answer will come later, if the model has not answered. At least 5.
    pub deadline_secs: u32,
    /// Seconds for which the employee retries a question that it could not answer; 0 to never retry.
    pub question_age_secs: u32,
    /// Seconds after a team member's last message in a conversation for which the employee is silent there, unless the
    /// conversation is handed back; 0: a team member's message does not silence it.
    pub hold_secs: u32,
    /// The maximum number of messages of a reply. The rest is offered.
    pub reply_parts: u32,
    /// What happens to a send with an unknown outcome.
    pub unresolved: Unresolved,
    /// What happens to a message that arrives during a turn.
    pub mid_turn: MidTurn,
}

impl TurnLimits {
    /// Applies changes to the fields.
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

    /// Returns until when a team member holds a conversation whose last message was sent at this time.
    pub fn held_until(&self, since: Timestamp) -> Timestamp {
        since + Duration::from_secs(u64::from(self.hold_secs))
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
            hold_secs: 12 * 60 * 60,
            reply_parts: 4,
            unresolved: Unresolved::Ask,
            mid_turn: MidTurn::Fold,
        }
    }
}

/// What happens to a send whose outcome is still unknown after the deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unresolved {
    /// A person is asked. The message is never sent again without a decision.
    #[default]
    Ask,
    /// The message is sent again, which may deliver it twice.
    Resend,
}

/// What happens to a message that arrives while a turn is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MidTurn {
    /// The message joins the turn if the model will be called again anyway; otherwise it is left for the next turn.
    #[default]
    Fold,
    /// The message is left for the next turn.
    Queue,
}

impl Employee {
    /// Starts building an employee.
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
                caps: Vec::new(),
                fallback: default_fallback(),
                phrases: Phrases::default(),
                limits: TurnLimits::default(),
                rates: RateLimits::default(),
            },
        }
    }

    /// Returns the cap of a scope and a period.
    pub fn cap(&self, scope: CapScope, period: Period) -> Option<NanoUsd> {
        let mut caps = self.caps.iter();
        let found = caps.find(|cap| (cap.scope, cap.period) == (scope, period));
        found.map(|cap| cap.amount)
    }

    /// Validates every field.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), with the name of the first invalid field.
    pub fn validate(&self) -> Result<()> {
        length("name", &self.name, 1, 80)?;
        length("role", &self.role, 1, 500)?;
        length("persona", &self.persona, 0, 4000)?;
        length("scope", &self.scope, 0, 2000)?;
        length("instructions", &self.instructions, 0, 20_000)?;
        length("fallback", &self.fallback, 1, 1000)?;
        length("phrases.cap_reached", &self.phrases.cap_reached, 1, 1000)?;
        length("phrases.deferred", &self.phrases.deferred, 1, 1000)?;
        length("phrases.unreadable", &self.phrases.unreadable, 1, 1000)?;
        let phrases = &self.phrases;
        for (name, phrase) in [
            ("busy", &phrases.busy),
            ("cannot_listen", &phrases.cannot_listen),
            ("nothing_heard", &phrases.nothing_heard),
            ("cannot_see", &phrases.cannot_see),
            ("cannot_read", &phrases.cannot_read),
            ("too_large", &phrases.too_large),
            ("not_received", &phrases.not_received),
            ("rest", &phrases.rest),
        ] {
            length(&format!("phrases.{name}"), phrase, 1, 1000)?;
        }
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
        self.rates.validate()?;
        validate_caps(&self.caps)?;
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

/// Builds an [`Employee`].
#[derive(Clone, Debug)]
pub struct EmployeeBuilder {
    employee: Employee,
}

impl EmployeeBuilder {
    /// Sets the role in the business.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.employee.role = role.into();
        self
    }

    /// Sets the manner of speaking.
    #[must_use]
    pub fn persona(mut self, persona: impl Into<String>) -> Self {
        self.employee.persona = persona.into();
        self
    }

    /// Sets the subjects that it may talk about.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.employee.scope = scope.into();
        self
    }

    /// Adds free-form instructions as a new line after the previous ones.
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

    /// Adds a language of its answers.
    #[must_use]
    pub fn language(mut self, tag: impl Into<String>) -> Self {
        self.employee.languages.push(tag.into());
        self
    }

    /// Sets the working hours.
    #[must_use]
    pub fn hours(mut self, hours: WorkingHours) -> Self {
        self.employee.hours = Some(hours);
        self
    }

    /// Grants a tool by name.
    #[must_use]
    pub fn tool(mut self, name: impl Into<String>) -> Self {
        self.employee.tools.push(name.into());
        self
    }

    /// Sets the most that the tenant may spend in a calendar month (UTC).
    #[must_use]
    pub fn monthly_cap(self, cap: NanoUsd) -> Self {
        self.cap(Cap::new(CapScope::Tenant, Period::Month, cap))
    }

    /// Adds a cap.
    #[must_use]
    pub fn cap(mut self, cap: Cap) -> Self {
        self.employee.caps.push(cap);
        self
    }

    /// Sets the reply if the employee cannot answer.
    #[must_use]
    pub fn fallback(mut self, text: impl Into<String>) -> Self {
        self.employee.fallback = text.into();
        self
    }

    /// Sets the other fixed phrases.
    #[must_use]
    pub fn phrases(mut self, phrases: Phrases) -> Self {
        self.employee.phrases = phrases;
        self
    }

    /// Sets the limits of a turn.
    #[must_use]
    pub fn limits(mut self, limits: TurnLimits) -> Self {
        self.employee.limits = limits;
        self
    }

    /// Sets the limits on how often it answers.
    #[must_use]
    pub fn rates(mut self, rates: RateLimits) -> Self {
        self.employee.rates = rates;
        self
    }

    /// Builds the employee.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), with the name of the first invalid field.
    pub fn build(self) -> Result<Employee> {
        self.employee.validate()?;
        Ok(self.employee)
    }
}
