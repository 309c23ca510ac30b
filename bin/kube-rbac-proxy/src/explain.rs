mod reviews;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use auth::{Explanation, RequestGate};
use command::{CommandLine, Findings, block_on, choice, complain};
use http::{HeaderName, HeaderValue, Request, request::Parts};
use observe::Metrics;
use request::User;
use serde_json::json;

use crate::{
    VERSION,
    files::DecidingFiles,
    flags::{ExplainOptions, Options},
    gate,
    settings::{self, Mode},
};

/// The request would be refused, or a review is not allowed.
const DENIED: u8 = 2;

/// Says what would become of a request, or answers reviews; nothing is served.
pub(crate) fn run(line: CommandLine<Options>) -> Result<ExitCode, Vec<String>> {
    let CommandLine { options, mut errors, .. } = line;
    let json = choice("output", &options.explain.output, [("text", false), ("json", true)]).map_err(|why| errors.push(why)).ok();
    let head = head(&options.explain).map_err(|why| errors.push(why)).ok();
    block_on(async {
        let gate = open(&options, &mut errors).await;
        let (Some(gate), Some(json), Some(head), true) = (gate, json, head, errors.is_empty()) else { return Err(errors) };
        match options.explain.reviews.as_str() {
            "" => show(gate.explain(head, user(&options.explain)).await, &options.explain, json),
            source => reviews::answer(&gate, source).await,
        }
        .map_err(|why| vec![why])
    })?
}

async fn open(options: &Options, errors: &mut Vec<String>) -> Option<RequestGate> {
    let (mut sources, settings, Findings { warnings, errors: found }) = settings::check_deciding(options);
    errors.extend(found);
    complain("Warning", &warnings);
    // Who asks is said by flags, and no token is reviewed.
    sources.api = sources.api.filter(|_| settings.as_ref().is_none_or(|deciding| deciding.deciders.modes.contains(&Mode::Webhook)));
    let api = gate::connect(&sources, errors).await;
    let files = DecidingFiles::open(sources, errors)?;
    complain("Warning", &files.doubts());
    let gate = gate::open(&settings?, &files, api?.as_ref(), None, &Metrics::new("kube_rbac_proxy", VERSION));
    gate.map_err(|why| errors.push(why)).ok()
}

fn head(options: &ExplainOptions) -> Result<Parts, String> {
    let mut request = Request::builder().method(options.method.as_str()).uri(options.path.as_str()).header("host", "explain");
    for line in &options.headers {
        let read = line.split_once(':').map(|(name, value)| (HeaderName::try_from(name), HeaderValue::from_str(value.trim())));
        let Some((Ok(name), Ok(value))) = read else {
            return Err(format!("--header: {}: it must be as \"Name: value\"", go_compat::quote(line)));
        };
        request = request.header(name, value);
    }
    let request = request.body(());
    let wrong = || format!("--method, --path: {} {}: it is no request", options.method, go_compat::quote(&options.path));
    request.map(|request| request.into_parts().0).map_err(|_| wrong())
}

/// With the groups that kube-apiserver gives to who is impersonated.
fn user(options: &ExplainOptions) -> Option<User> {
    let name = options.user.clone();
    let mut groups = options.groups.clone();
    if let (true, Some(account)) = (groups.is_empty(), name.strip_prefix("system:serviceaccount:"))
        && let Some((namespace, _)) = account.split_once(':')
    {
        groups.extend(["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]);
    }
    (!name.is_empty()).then(|| User { name, groups, uid: options.uid.clone(), ..User::default() })
}

fn show(explanation: Explanation, options: &ExplainOptions, json: bool) -> Result<ExitCode, String> {
    let Explanation { steps, refusal } = explanation;
    let row = refusal.as_ref().map(|refusal| refusal.reason().row());
    let text = match json {
        true => {
            let steps: Vec<_> = steps.iter().map(|step| json!({ "step": step.name, "says": step.says })).collect();
            let decision = match row {
                None => json!({ "allowed": true }),
                Some(row) => json!({ "allowed": false, "status": row.status.as_u16(), "reason": row.label }),
            };
            let request = json!({ "method": options.method, "path": options.path, "user": options.user, "groups": options.groups });
            format!("{}\n", json!({ "request": request, "steps": steps, "decision": decision }))
        }
        false => {
            let mut text = format!("{:15} {} {}\n", "request", options.method, options.path);
            for step in &steps {
                // What is said in several lines stays in its column.
                text.push_str(&format!("{:15} {}\n", step.name, step.says.replace('\n', &format!("\n{:16}", ""))));
            }
            match row {
                None => text.push_str(&format!("{:15} allowed: the request is forwarded\n", "decision")),
                Some(row) => {
                    text.push_str(&format!("{:15} refused: {} {} ({})\n", "decision", row.status.as_u16(), row.label, row.meaning))
                }
            }
            text
        }
    };
    io::stdout().write_all(text.as_bytes()).map_err(|why| format!("standard output: {why}"))?;
    Ok(if row.is_none() { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}
