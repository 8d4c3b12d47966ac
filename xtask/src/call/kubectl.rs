//! Why a cluster was not reached, told from kubectl's words: each cause has a remedy of its own.
//! kubectl gives no code for them; the words are those of kubectl 1.31 to 1.36.

use camino::Utf8Path;

use crate::base::failure::{Failure, Kind};

/// A cause, by the words that tell it.
struct Cause {
    words: &'static [&'static str],
    kind: Kind,
    says: &'static str,
    remedy: &'static str,
}

/// The first whose words are found is the cause.
const CAUSES: [Cause; 10] = [
    Cause {
        words: &["(Forbidden)"],
        kind: Kind::Refused,
        says: "`kube-system` may not be read with these credentials, and an unknown cluster is not touched",
        remedy: "use credentials that may `get` the namespace `kube-system`",
    },
    Cause {
        words: &[
            "(Unauthorized)",
            "the server has asked for the client to provide credentials",
        ],
        kind: Kind::Preflight,
        says: "the cluster does not take these credentials",
        remedy: "they have expired or belong to another cluster: fetch the kubeconfig anew",
    },
    Cause {
        words: &["certificate has expired or is not yet valid"],
        kind: Kind::Preflight,
        says: "a certificate has expired, or this host's clock is wrong",
        remedy: "look at the clock (`date`), then renew the certificate or fetch the kubeconfig anew",
    },
    Cause {
        words: &[
            "x509:",
            "tls: failed to verify certificate",
            "certificate signed by unknown authority",
        ],
        kind: Kind::Preflight,
        says: "the API server's certificate is not signed by the CA of the kubeconfig",
        remedy: "another cluster may answer at this address; fetch the kubeconfig of this cluster anew, and never \
                 turn verification off",
    },
    Cause {
        words: &["getting credentials: exec", "exec plugin", "exec: executable"],
        kind: Kind::Preflight,
        says: "the credential plugin that the kubeconfig names cannot be run",
        remedy: "install it, or write a kubeconfig with credentials of its own",
    },
    Cause {
        // Without credentials kubectl asks for a name on a terminal, and finds none.
        words: &["Please enter Username", "error: EOF"],
        kind: Kind::Preflight,
        says: "the kubeconfig has no credentials for this cluster",
        remedy: "fetch the kubeconfig anew",
    },
    Cause {
        words: &["context was not found", "does not exist", "no context"],
        kind: Kind::Preflight,
        says: "the kubeconfig has no such context",
        remedy: "the context must be called as the platform config says: `kubectl config rename-context`",
    },
    Cause {
        words: &[
            "connection refused",
            "was refused",
            "no route to host",
            "network is unreachable",
        ],
        kind: Kind::Preflight,
        says: "no server answers at the address of the kubeconfig",
        remedy: "is the cluster up, and is a tunnel or VPN needed?",
    },
    Cause {
        words: &["no such host", "server misbehaving"],
        kind: Kind::Preflight,
        says: "the name of the API server cannot be resolved",
        remedy: "look at the DNS record of the endpoint",
    },
    Cause {
        words: &[
            "i/o timeout",
            "deadline exceeded",
            "Client.Timeout",
            "TLS handshake timeout",
            "EOF",
        ],
        kind: Kind::Preflight,
        says: "the cluster does not answer in time",
        remedy: "look at its load and at the network in between, then try again",
    },
];

/// Words of an API server that is there and cannot answer now, or of a connection that broke: asked again it may.
const BLIPS: [&str; 14] = [
    "connection refused",
    "was refused - did you specify",
    "connection reset by peer",
    "broken pipe",
    "unexpected EOF",
    ": EOF",
    "TLS handshake timeout",
    "i/o timeout",
    "no route to host",
    "http2: client connection lost",
    "(ServiceUnavailable)",
    "(TooManyRequests)",
    "(InternalError)",
    "the server is currently unable to handle the request",
];

/// What Go's TLS says of a server that another authority signed, in every version up to 1.26. kubectl ends with
/// the same status as for a server that is not there yet, and waiting mends only that.
pub const UNKNOWN_AUTHORITY: &str = "x509: certificate signed by unknown authority";

/// Every API server that a kubeconfig names; none where there is no kubeconfig yet.
pub fn servers(kubeconfig: &Utf8Path) -> Vec<String> {
    let config = fs_err::read_to_string(kubeconfig)
        .ok()
        .and_then(|text| crate::base::formats::yaml::read_one(&text).ok());
    let clusters = config.as_ref().and_then(|config| config.get("clusters")?.as_array());
    clusters
        .into_iter()
        .flatten()
        .filter_map(|cluster| Some(cluster.pointer("/cluster/server")?.as_str()?.to_owned()))
        .collect()
}

/// What kubectl says when it lists all but the groups of a dead APIService, and ends 1 (1.31 to 1.36).
pub const DEAD_GROUPS: &str = "unable to retrieve the complete list of server APIs";

/// What a tool said of an API server that was out of reach for a moment; none when it failed of something else.
pub fn blip(said: &str) -> Option<&'static str> {
    let found = BLIPS.iter().find(|words| said.contains(**words))?;
    // What a webhook or the server says of an object is no matter of reach.
    let of_an_object = [
        "admission webhook",
        "failed calling webhook",
        "conversion webhook for",
        "is invalid",
        "(Forbidden)",
    ];
    (!of_an_object.iter().any(|words| said.contains(words))).then_some(match *found {
        "(TooManyRequests)" => "the API server has too much to do",
        "(InternalError)" | "(ServiceUnavailable)" | "the server is currently unable to handle the request" => {
            "the API server cannot answer now"
        }
        _ => "the API server is out of reach",
    })
}

/// The failure for the last lines that kubectl printed.
pub fn explain(tail: &[String]) -> Failure {
    let said = tail.join("\n");
    let cause = CAUSES
        .iter()
        .find(|cause| cause.words.iter().any(|words| said.contains(words)));
    let lines: String = tail
        .iter()
        .rev()
        .take(3)
        .rev()
        .map(|line| format!("\n    {line}"))
        .collect();
    match cause {
        Some(cause) => {
            Failure::new(cause.kind, format!("{}; nothing was changed{lines}", cause.says)).hinted(cause.remedy)
        }
        None => Failure::preflight(format!("the cluster was not reached; nothing was changed{lines}"))
            .hinted("look where the kubeconfig leads, and whether the cluster is up"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(line: &str) -> (Kind, String) {
        let failure = explain(&[line.to_owned()]);
        (failure.kind, failure.chain())
    }

    #[test]
    fn only_what_passes_by_itself_is_asked_again() {
        for line in [
            "Unable to connect to the server: dial tcp 127.0.0.1:6443: connect: connection refused",
            "error: Get \"https://x\": read tcp: connection reset by peer",
            "Error from server (TooManyRequests): the server has received too many requests",
            "Error from server (InternalError): an error on the server has prevented the request",
        ] {
            assert!(blip(line).is_some(), "{line}");
        }
        for line in [
            "Error from server (InternalError): failed calling webhook \"x\": connection refused",
            "Error from server (NotFound): configmaps \"x\" not found",
            "The Job \"x\" is invalid: spec.template: field is immutable",
        ] {
            assert_eq!(blip(line), None, "{line}");
        }
    }

    #[test]
    fn every_way_not_to_reach_a_cluster_is_told_from_the_others() {
        let (forbidden, _) = kind(
            "Error from server (Forbidden): namespaces \"kube-system\" is forbidden: User \"x\" cannot get resource",
        );
        assert_eq!(forbidden, Kind::Refused);
        let mut causes = Vec::new();
        for line in [
            "error: You must be logged in to the server (Unauthorized)",
            "Unable to connect to the server: tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time",
            "Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "Unable to connect to the server: getting credentials: exec: executable aws not found",
            "error: context \"x\" does not exist",
            "error: EOF",
            "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?",
            "Unable to connect to the server: dial tcp: lookup x on 1.1.1.1:53: no such host",
            "Unable to connect to the server: net/http: TLS handshake timeout",
        ] {
            let (kind, chain) = kind(line);
            assert_eq!(kind, Kind::Preflight, "{line}");
            causes.push(chain.lines().next().unwrap().to_owned());
        }
        let count = causes.len();
        causes.sort();
        causes.dedup();
        assert_eq!(causes.len(), count, "two causes are told alike");
    }
}
