//! Sections: the parts of a plan, each with the condition under which it has nothing to do.
//! A condition stands once, on the section that it is about, and is looked at when a run comes to it.

use serde::{Deserialize, Serialize};

use super::{Command, Effect, Probe, Step, Tool};

/// A part of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Section {
    /// A word, unique beside its neighbours; the ids from the outermost section inward, joined with `/`, are a path.
    pub id: String,
    /// Imperative, no period; begins with a verb that [`Section::past`] knows.
    pub title: String,
    /// The reason, a sentence.
    pub why: String,
    /// The section is passed over whole when this holds.
    pub unless: Option<Probe>,
    /// Steps and sections, in order.
    pub items: Vec<Item>,
}

/// What a section consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(
    clippy::large_enum_variant,
    reason = "a plan has some hundred items, and is made once"
)]
pub enum Item {
    /// One step.
    Step(Step),
    /// A section of its own.
    Section(Section),
}

/// A section or a step of a plan, and where it is.
#[derive(Debug, Clone)]
pub struct Placed<'a> {
    /// `deploy/compare/stage.list`.
    pub path: String,
    /// What is there.
    pub node: Node<'a>,
    /// The sections around it, the outermost first.
    pub above: Vec<&'a Section>,
}

/// A section or a step.
#[derive(Debug, Clone, Copy)]
pub enum Node<'a> {
    /// A section.
    Section(&'a Section),
    /// A step.
    Step(&'a Step),
}

impl From<Step> for Item {
    fn from(step: Step) -> Self {
        Self::Step(step)
    }
}

impl From<Section> for Item {
    fn from(section: Section) -> Self {
        Self::Section(section)
    }
}

/// Past tenses that no rule makes.
const IRREGULAR: [(&str, &str); 18] = [
    ("Apply", "Applied"),
    ("Bring", "Brought"),
    ("Build", "Built"),
    ("Copy", "Copied"),
    ("Find", "Found"),
    ("Forget", "Forgot"),
    ("Give", "Gave"),
    ("Keep", "Kept"),
    ("Make", "Made"),
    ("Put", "Put"),
    ("Read", "Read"),
    ("Run", "Ran"),
    ("Set", "Set"),
    ("Stop", "Stopped"),
    ("Take", "Took"),
    ("Tell", "Told"),
    ("Verify", "Verified"),
    ("Write", "Wrote"),
];

impl Section {
    /// An empty section; `title` is imperative, `why` a sentence.
    pub fn new(id: &str, title: impl Into<String>, why: &str) -> Self {
        Self {
            id: id.to_owned(),
            title: title.into(),
            why: why.to_owned(),
            unless: None,
            items: Vec::new(),
        }
    }

    /// Adds a step or a section.
    #[must_use]
    pub fn with(mut self, item: impl Into<Item>) -> Self {
        self.push(item);
        self
    }

    /// Adds steps or sections.
    #[must_use]
    pub fn with_all<I: Into<Item>>(mut self, items: impl IntoIterator<Item = I>) -> Self {
        self.extend(items);
        self
    }

    /// Adds a step or a section.
    pub fn push(&mut self, item: impl Into<Item>) {
        self.items.push(item.into());
    }

    /// Adds steps or sections.
    pub fn extend<I: Into<Item>>(&mut self, items: impl IntoIterator<Item = I>) {
        self.items.extend(items.into_iter().map(Into::into));
    }

    /// Puts a step or a section before all others.
    #[must_use]
    pub fn after(mut self, item: impl Into<Item>) -> Self {
        self.items.insert(0, item.into());
        self
    }

    /// Passes the section over when the probe holds, or when one that it has already does; the new one is asked first.
    #[must_use]
    pub fn unless(mut self, probe: Probe) -> Self {
        self.unless = Some(match self.unless.take() {
            None => probe,
            Some(own) => Probe::Any(vec![probe, own]),
        });
        self
    }

    /// The same section under another id.
    #[must_use]
    pub fn named(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// The title as what was done: `Compare it with the project` is `Compared` and `it with the project`.
    pub fn past(&self) -> (String, &str) {
        let (verb, rest) = self.title.split_once(' ').unwrap_or((&self.title, ""));
        let irregular = IRREGULAR.iter().find(|(known, _)| *known == verb);
        let past = match irregular {
            Some((_, past)) => (*past).to_owned(),
            None if verb.ends_with('e') => format!("{verb}d"),
            None => format!("{verb}ed"),
        };
        (past, rest)
    }

    /// Every step in it, in order.
    pub fn steps(&self) -> Vec<&Step> {
        let mut steps: Vec<&Step> = Vec::new();
        for item in &self.items {
            match item {
                Item::Step(step) => steps.push(step),
                Item::Section(section) => steps.extend(section.steps()),
            }
        }
        steps
    }

    /// Changes every step in it.
    #[must_use]
    pub fn each_step(mut self, change: &dyn Fn(Step) -> Step) -> Self {
        self.items = self
            .items
            .into_iter()
            .map(|item| match item {
                Item::Step(step) => Item::Step(change(step)),
                Item::Section(section) => Item::Section(section.each_step(change)),
            })
            .collect();
        self
    }

    /// What a mistake in it costs at most.
    pub fn effect(&self) -> Effect {
        let effects = self.steps().into_iter().map(|step| step.effect);
        effects.max().unwrap_or(Effect::Read)
    }

    /// Every command that it may run, its probes' included.
    pub fn commands(&self) -> Vec<&Command> {
        let mut commands: Vec<&Command> = self.unless.iter().flat_map(Probe::commands).collect();
        for item in &self.items {
            commands.extend(match item {
                Item::Step(step) => step.commands(),
                Item::Section(section) => section.commands(),
            });
        }
        commands
    }

    /// Every tool that it may start.
    pub fn tools(&self) -> Vec<Tool> {
        let mut tools: Vec<Tool> = self.unless.iter().flat_map(Probe::tools).collect();
        for item in &self.items {
            tools.extend(match item {
                Item::Step(step) => step.tools(),
                Item::Section(section) => section.tools(),
            });
        }
        tools
    }
}

/// The path of what has this id in the section with this path; the outermost section is in none.
pub(crate) fn path(above: &str, id: &str) -> String {
    if above.is_empty() {
        id.to_owned()
    } else {
        format!("{above}/{id}")
    }
}

/// Every section and step of these, in order, a section before what is in it.
pub(super) fn placed<'a>(sections: impl IntoIterator<Item = &'a Section>) -> Vec<Placed<'a>> {
    let mut all = Vec::new();
    for section in sections {
        place(section, "", &[], &mut all);
    }
    all
}

fn place<'a>(section: &'a Section, around: &str, above: &[&'a Section], into: &mut Vec<Placed<'a>>) {
    let own = path(around, &section.id);
    into.push(Placed {
        path: own.clone(),
        node: Node::Section(section),
        above: above.to_vec(),
    });
    let mut above = above.to_vec();
    above.push(section);
    for item in &section.items {
        match item {
            Item::Step(step) => into.push(Placed {
                path: path(&own, &step.id),
                node: Node::Step(step),
                above: above.clone(),
            }),
            Item::Section(section) => place(section, &own, &above, into),
        }
    }
}
