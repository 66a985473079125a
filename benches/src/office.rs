//! The fake Slack, Graph API and model of a server under test.

use konstruct_channels::testkit::{FakeGraph, FakeSlack, Fault};
use konstruct_llm::testkit::{FakeProvider, FakeServer, Reply};

use crate::{Failed, dice::Dice, server::Setup};

/// The id of the WhatsApp number.
pub const NUMBER: &str = "106540352242922";

/// The secret that both vendors sign with.
pub const SECRET: &str = "a secret of the vendors";

/// Two vendors and a model in this process.
#[derive(Debug)]
pub struct Office {
    /// Slack.
    pub slack: FakeSlack,
    /// WhatsApp.
    pub graph: FakeGraph,
    model: FakeServer,
}

impl Office {
    /// Starts them. The model repeats the last message.
    ///
    /// # Errors
    /// No port is free.
    pub async fn open() -> Result<Self, Failed> {
        let model = FakeProvider::new(|asked| Reply::text(format!("Re: {asked}")));
        Ok(Self {
            slack: FakeSlack::start().await?,
            graph: FakeGraph::start().await?,
            model: model.spawn().await?,
        })
    }

    /// Configures a server to use them.
    pub fn connect(&self, setup: &mut Setup) {
        let variables = [
            ("KONSTRUCT_DEMO", "false"),
            ("KONSTRUCT_MODEL", "openai/fake"),
            ("OPENAI_API_KEY", "sk-fake"),
            ("OPENAI_BASE_URL", self.model.url()),
            ("SLACK_SIGNING_SECRET", SECRET),
            ("SLACK_BOT_TOKEN", "xoxb-fake"),
            ("SLACK_API_URL", &self.slack.url()),
            ("WHATSAPP_APP_SECRET", SECRET),
            ("WHATSAPP_VERIFY_TOKEN", "verify"),
            ("WHATSAPP_PHONE_NUMBER_ID", NUMBER),
            ("WHATSAPP_ACCESS_TOKEN", "EAAG-fake"),
            ("GRAPH_API_URL", &self.graph.url()),
        ];
        for (name, value) in variables {
            setup.set(name, value);
        }
    }

    /// Returns the number of messages that the vendors accepted.
    pub fn taken(&self) -> usize {
        self.slack.posts().len() + self.graph.posts().len()
    }

    /// Injects a fault into the next send of one of the vendors. Returns whether it hides the outcome of the send.
    pub fn misbehave(&self, dice: &mut Dice) -> bool {
        let slack = dice.percent(50);
        // A message that WhatsApp never accepted stays unresolved, and a person must be asked: this fault is rarer.
        let never = if slack { 8 } else { 2 };
        let fault = match dice.below(100) {
            n if n < never => Fault::DropBefore,
            n if n < 2 * never => Fault::StatusBefore(503),
            n if n < 2 * never + 20 => Fault::DropAfter,
            n if n < 2 * never + 34 => Fault::RateLimit(1),
            _ => Fault::Delay(dice.below(1_200)),
        };
        if slack {
            self.slack.plan("chat.postMessage", fault);
        } else {
            self.graph.plan("messages", fault);
        }
        matches!(
            fault,
            Fault::DropBefore | Fault::DropAfter | Fault::StatusBefore(_)
        )
    }

    /// Makes both vendors accept their next sends without answering.
    pub fn hold_answers(&self, sends: usize) {
        for _ in 0..sends {
            self.slack.plan("chat.postMessage", Fault::Delay(1_500));
            self.graph.plan("messages", Fault::Delay(1_500));
        }
    }
}
