use http::request::Parts;
use request::{Attributes, CanonicalRequest, Gate, OpenDoor, Reason, Refusal, ResourceAttributes, User};
use tokio::time::Instant;

use crate::{
    RequestGate,
    authn::as_authenticated,
    authz::{Opinion, attributes},
    gate::API_DEADLINE,
};

/// What became of a request that was only imagined, step by step.
#[derive(Debug)]
pub struct Explanation {
    /// In the order taken.
    pub steps: Vec<Step>,
    /// Why it goes no further; `None`: it would be forwarded.
    pub refusal: Option<Refusal>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What looked.
    pub name: &'static str,
    /// What it found.
    pub says: String,
}

/// What all authorizers together say, as a SubjectAccessReview has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether he may.
    pub allowed: bool,
    /// Whether an authorizer forbade it, rather than none having allowed it.
    pub denied: bool,
    /// Why.
    pub reason: String,
    /// What could not be found out; empty when everything was.
    pub error: String,
}

impl RequestGate {
    /// Decides about a request as if this user had sent it, and says how. Nobody: a request without credentials.
    pub async fn explain(&self, head: Parts, user: Option<User>) -> Explanation {
        let mut steps = Vec::new();
        let refusal = self.walk(head, user, &mut steps).await.err();
        Explanation { steps, refusal }
    }

    /// Asks the authorizers alone.
    pub async fn judge(&self, user: &User, asked: &Attributes) -> Judgement {
        let deadline = Instant::now() + API_DEADLINE;
        let (mut reasons, mut errors) = (Vec::new(), Vec::new());
        for authorizer in self.authorizers() {
            let (opinion, reason) = authorizer.judge(user, asked, deadline).await;
            let says = |allowed, denied, reason| Judgement { allowed, denied, reason, error: String::new() };
            match opinion {
                Opinion::Allow => return says(true, false, reason),
                Opinion::Deny(_) => return says(false, true, reason),
                Opinion::None(_) => reasons.push(reason),
                Opinion::Failed(failure) => errors.push(failure.detail),
            }
        }
        Judgement { allowed: false, denied: false, reason: reasons.join("; "), error: errors.join("; ") }
    }

    async fn walk(&self, head: Parts, user: Option<User>, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        let mut step = |name, says: String| steps.push(Step { name, says });
        let request = CanonicalRequest::new(head, self.reads()).inspect_err(|refusal| step("request", refusal.detail().to_owned()))?;
        match self.door(&request) {
            Ok(Some(OpenDoor::IgnoredPath)) => {
                step("paths", "--ignore-paths has the path: nobody is asked who he is, and no authorizer is asked".to_owned());
                return Ok(());
            }
            Ok(None) => step("paths", "the path exists, and is not ignored".to_owned()),
            Err(refusal) => {
                step("paths", refusal.detail().to_owned());
                return Err(refusal);
            }
        }
        let Some(user) = user else {
            step("authentication", "the request has no credentials".to_owned());
            return Err(Refusal::new(Reason::NoCredentials));
        };
        let user = as_authenticated(user);
        step("authentication", format!("{} of the groups {}", user.name, user.groups.join(", ")));
        if let Some(refusal) = self.unclean(&request) {
            step("paths", format!("the path is unclean: the client is sent to {}", refusal.location().unwrap_or_default()));
            return Err(refusal);
        }
        let all =
            attributes(&request, self.resource()).inspect_err(|refusal| step("attributes", refusal.reason().row().meaning.to_owned()))?;
        let deadline = Instant::now() + API_DEADLINE;
        for asked in all {
            step("attributes", describe(&asked));
            self.ask(&user, asked, deadline, &mut step).await?;
        }
        Ok(())
    }

    async fn ask(
        &self,
        user: &User,
        asked: Attributes,
        deadline: Instant,
        step: &mut impl FnMut(&'static str, String),
    ) -> Result<(), Refusal> {
        let mut failed = None;
        for authorizer in self.authorizers() {
            let (opinion, reason) = authorizer.explain(user, &asked, deadline).await;
            let (verdict, end) = match opinion {
                Opinion::Allow => ("yes", Some(Ok(()))),
                Opinion::Deny(why) => ("no", Some(Err(Refusal::because(Reason::NotAllowed, why)))),
                Opinion::None(_) => ("no opinion", None),
                Opinion::Failed(failure) => {
                    failed = failed.or(Some(failure));
                    ("it cannot say", None)
                }
            };
            step(authorizer.name(), format!("{verdict}: {reason}"));
            if let Some(end) = end {
                return end.map_err(|refusal| refusal.about(&user.name, asked));
            }
        }
        Err(match failed {
            Some(failure) => failure.refusal().about(&user.name, asked),
            None => Refusal::because(Reason::NotAllowed, "no authorizer allows it").about(&user.name, asked),
        })
    }
}

fn describe(asked: &Attributes) -> String {
    match asked {
        Attributes::NonResource { verb, path } => format!("{verb} on the path {path}"),
        Attributes::Resource(resource) => {
            let ResourceAttributes { namespace, verb, group, version, resource, subresource, name } = resource;
            let mut text = format!("{verb} on {resource}");
            for (before, part) in [("/", subresource), (" of the group ", group), (" in version ", version), (" named ", name)] {
                if !part.is_empty() {
                    text.push_str(before);
                    text.push_str(part);
                }
            }
            match namespace.as_str() {
                "" => text.push_str(" in all namespaces"),
                namespace => text.push_str(&format!(" in the namespace {namespace}")),
            }
            text
        }
    }
}
