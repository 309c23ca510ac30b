use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use command::{CommandLine, Findings, block_on, complain};
use kube_api::{AccessVerdict, Api};
use request::{Attributes, ResourceAttributes, User};
use tokio::time::Instant;

use crate::{
    files::Files,
    flags::Options,
    gate,
    settings::{self, Deciding, Method, Mode},
};

/// Who may do everything, whatever RBAC says.
const MASTERS: &str = "system:masters";
const PATIENCE: Duration = Duration::from_secs(10);

/// Says what is wrong with the flags and files, as serving would, and what is allowed and unwise.
pub(crate) fn run(line: CommandLine<Options>) -> Result<ExitCode, Vec<String>> {
    let CommandLine { options, mut errors, ignored, .. } = line;
    errors.extend(settings::log_format(&options).err());
    let (sources, settings, Findings { mut warnings, errors: found }) = settings::check(&options);
    errors.extend(found);
    warnings.extend(ignored.iter().map(|name| format!("--{name} is without effect")));
    block_on(async {
        let api = gate::connect(&sources, &mut errors).await.flatten();
        let files = Files::open(sources, &mut errors);
        if let Some(files) = &files {
            warnings.extend(files.doubts());
            warnings.extend(files.deciding.tokens.iter().flat_map(|tokens| masters(tokens.current().users())));
        }
        if let Some(settings) = &settings {
            warnings.extend(unwise(&settings.deciding));
            if let Some(api) = &api {
                ask(api, &settings.deciding, &mut warnings, &mut errors).await;
            }
        }
    })?;
    complain("Warning", &warnings);
    if options.strict && !warnings.is_empty() {
        errors.push(format!("{} warnings, and --strict is given", warnings.len()));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    // There is nowhere to tell that standard output is gone.
    let _ = writeln!(io::stdout(), "nothing is wrong");
    Ok(ExitCode::SUCCESS)
}

fn masters<'a>(users: impl Iterator<Item = &'a User>) -> Vec<String> {
    let masters = users.filter(|user| user.groups.iter().any(|group| group == MASTERS));
    masters.map(|user| format!("--token-auth-file: {} is of the group {MASTERS} and may do everything", user.name)).collect()
}

fn unwise(deciding: &Deciding) -> Vec<String> {
    let reviews_tokens = deciding.deciders.methods.contains(&Method::TokenReview);
    let no_audience = (reviews_tokens && deciding.audiences.is_empty()).then(|| {
        "--auth-token-audiences is not given: a token that was meant for another service is believed, and that service can use it here"
            .to_owned()
    });
    let open = deciding.paths.ignores("/").then(|| "--ignore-paths has a pattern that opens / to everybody".to_owned());
    no_audience.into_iter().chain(open).collect()
}

/// Asks the API server what this program may do there: what it needs, and all else.
async fn ask(api: &Arc<Api>, deciding: &Deciding, warnings: &mut Vec<String>, errors: &mut Vec<String>) {
    let create = |group: &str, resource: &str| ResourceAttributes {
        verb: "create".to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        ..ResourceAttributes::default()
    };
    let tokens = deciding.deciders.methods.contains(&Method::TokenReview).then(|| create("authentication.k8s.io", "tokenreviews"));
    let access = deciding.deciders.modes.contains(&Mode::Webhook).then(|| create("authorization.k8s.io", "subjectaccessreviews"));
    for needed in tokens.into_iter().chain(access) {
        let name = format!("{} {}.{}", needed.verb, needed.resource, needed.group);
        match api.review_self(&Attributes::Resource(needed), Instant::now() + PATIENCE).await {
            Ok(AccessVerdict::Allowed) => {}
            Ok(_) => {
                errors.push(format!("this program may not `{name}`: bind its ServiceAccount to the ClusterRole system:auth-delegator"))
            }
            Err(why) => return errors.push(format!("the API server was not asked whether this program may `{name}`: {why}")),
        }
    }
    let all = || "*".to_owned();
    let everything = ResourceAttributes { verb: all(), group: all(), resource: all(), ..ResourceAttributes::default() };
    if let Ok(AccessVerdict::Allowed) = api.review_self(&Attributes::Resource(everything), Instant::now() + PATIENCE).await {
        warnings.push("this program's own credentials may do everything in the cluster: system:auth-delegator is enough".to_owned());
    }
}
