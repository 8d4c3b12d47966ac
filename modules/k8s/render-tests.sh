#!/usr/bin/env bash
# Tests render.sh outside Nix: a chart, manifests and a secret of our own, and every error that a build can end with.
# Prints a line a failure and the count; it needs what render.sh needs.
set -o errexit -o nounset -o pipefail -o errtrace
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fixtures=$here/testing
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

count=0
failures=0
check() {
  count=$((count + 1))
  local name=$1 expected=$2 actual=$3
  if [[ $actual != "$expected" ]]; then
    failures=$((failures + 1))
    printf 'failed: %s\n  expected: %s\n  actual:   %s\n' "$name" "$expected" "$actual"
  fi
}

kinds=$(nix-instantiate --eval --strict --json "$here/kinds.nix" --attr table)
jq -n --argjson kinds "$kinds" --arg fixtures "$fixtures" '
  def item($directory; $wait; $barrier): {directory: $directory, component: "greeter", phase: "base", waitReadiness: $wait, barrier: $barrier};
  {
    schema: 1,
    stage: {
      schema: 1, cluster: "c", stage: "local", environment: "local", discriminator: "y", phases: ["base"],
      items: [item("01-greeter-crds"; true; true), item("01-greeter"; true; true), item("01-greeter-custom"; false; false)],
      gates: [], charts: []
    },
    kubeVersion: "1.35.0",
    kinds: $kinds,
    folders: {greeter: {crds: "01-greeter-crds", plain: "01-greeter", workloads: "01-greeter", custom: "01-greeter-custom"}},
    classes: {greeter: ["crds", "custom", "plain", "workloads"]},
    objects: [{component: "greeter", object: {apiVersion: "v1", kind: "Namespace", metadata: {name: "greetings"}}}],
    charts: [{
      component: "greeter", release: "hi", namespace: "greetings", path: "chart", source: {type: "local", path: $fixtures},
      overwriteVersion: "v1.2.3", dropDependencies: ["unwanted"], includeCRDs: true, apiVersions: [], setNamespace: true,
      values: {replicas: 2},
      patches: [{kind: "Deployment", namespace: "greetings", name: "hi", patch: {spec: {minReadySeconds: 5, template: {spec: {volumes: null}}}}}]
    }],
    manifests: [{component: "greeter", name: "m", source: {type: "local", path: $fixtures}, files: ["manifests"]}],
    secrets: [{component: "greeter", file: "secret.enc.yaml", asked: false, source: {path: "\($fixtures)/secret.enc.yaml"}}]
  }' >"$work/spec.json"

# A step of the test itself that failed has said why.
trap 'printf "render-tests: line %d failed\n" "$LINENO" >&2; cat "$said" >&2 || true' ERR

# Renders the spec after a change to it; the result is in $out, what was said in $said.
out=$work/out
said=$work/said
render() {
  rm -rf "$out"
  jq "$1" "$work/spec.json" >"$work/changed.json"
  shift
  "$here/render.sh" "$@" "$work/changed.json" "$out" >"$said" 2>&1
}
refuses() {
  local name=$1 text=$2 change=$3
  if render "$change"; then
    check "$name" "an error" "no error"
  else
    check "$name" "$text" "$(grep -o -F -- "$text" "$said" | head -n 1 || true)"
    [[ -n $(grep -F -- "$text" "$said" || true) ]] || cat "$said"
  fi
}
# The same where no source matters: what is wrong is one more object of ours.
native() {
  refuses "$1" "$2" ".charts = [] | .manifests = [] | .secrets = [] | .objects += [{component: \"greeter\", object: $3}]"
}
workload() {
  printf '{apiVersion: "apps/v1", kind: "Deployment", metadata: {name: "d", namespace: "default"}, spec: {template: {spec: {containers: [{image: "%s"}]}}}}' "$1"
}
object() { jq -c "$2" "$out/$1"; }

render . || { cat "$said"; exit 1; }
check "every object has one file, in the folder of its class and with the rank of its kind" \
  "01-greeter-crds/24-customresourcedefinition._.greetings.example.org.yaml
01-greeter-custom/80-greeting.example.org._.hello.yaml
01-greeter-custom/80-greeting.example.org._.traps.yaml
01-greeter-custom/80-sopssecret.isindir.github.com.default.s.yaml
01-greeter/04-namespace._.greetings.yaml
01-greeter/16-configmap.greetings.hi.yaml
01-greeter/26-clusterrole._.hi%3A%53um.yaml
01-greeter/42-deployment.greetings.hi.yaml
01-greeter/90-validatingwebhookconfiguration._.hi.yaml" \
  "$(cd "$out" && find 01-* -type f | LC_ALL=C sort)"
check "the project has its four files" ".kluctl.yaml .templateignore deployment.yaml stage.json" \
  "$(find "$out" -maxdepth 1 -type f -printf '%f\n' | LC_ALL=C sort | xargs)"
check "a discriminator that YAML would read as a boolean is quoted" '{"discriminator":"y"}' "$(jq -c . "$out/.kluctl.yaml")"
check "Jinja2 is kept away from every file" '*' "$(cat "$out/.templateignore")"
check "items have a tag for phase, component and themselves, and barriers stand after those that are waited for" \
  '[{"path":"01-greeter-crds","tags":["phase-base","component-greeter","item-01-greeter-crds"],"waitReadiness":true},{"barrier":true,"message":"after 01-greeter-crds"},{"path":"01-greeter","tags":["phase-base","component-greeter","item-01-greeter"],"waitReadiness":true},{"barrier":true,"message":"after 01-greeter"},{"path":"01-greeter-custom","tags":["phase-base","component-greeter","item-01-greeter-custom"]}]' \
  "$(jq -c .deployments "$out/deployment.yaml")"
check "a file mode in octal is the number it means, unless a patch removes it" null "$(object 01-greeter/42-deployment.greetings.hi.yaml .spec.template.spec.volumes)"
check "values and patches arrive" '[2,5]' "$(object 01-greeter/42-deployment.greetings.hi.yaml '[.spec.replicas, .spec.minReadySeconds]')"
check "status, nulls and creationTimestamp are dropped" '[false,false]' \
  "$(object 01-greeter/42-deployment.greetings.hi.yaml '[has("status"), (.metadata | has("creationTimestamp"))]')"
check "the overwritten version is in the labels" '"v1.2.3"' "$(object 01-greeter/16-configmap.greetings.hi.yaml .metadata.labels.version)"
check "text that looks like something else stays text" '{"clock":"12:30:45","norway":"no","octal":"0644","text":"{{ braces }}"}' \
  "$(object 01-greeter/16-configmap.greetings.hi.yaml .data)"
check "text without quotes is what the API server takes it for" '{"clock":"12:30:45","date":"2024-01-01","exponent":1000,"norway":false,"octal":420,"underscore":1000,"whole":1}' \
  "$(object 01-greeter-custom/80-greeting.example.org._.traps.yaml .spec)"
check "an aggregated role has no rules of ours" false "$(object 01-greeter/26-clusterrole._.hi%3A%53um.yaml 'has("rules")')"
check "an empty caBundle is dropped" '{"service":{"name":"x","namespace":"z"}}' \
  "$(object 01-greeter/90-validatingwebhookconfiguration._.hi.yaml '.webhooks[0].clientConfig')"
check "namespaces and CRDs, a chart's too, are never pruned" '"true" "true"' \
  "$(object 01-greeter/04-namespace._.greetings.yaml '.metadata.annotations["kluctl.io/skip-delete"]') $(object 01-greeter-crds/24-customresourcedefinition._.greetings.example.org.yaml '.metadata.annotations["kluctl.io/skip-delete"]')"
check "a SopsSecret stands inside a List, where kluctl leaves it encrypted" '["List","SopsSecret"]' \
  "$(object 01-greeter-custom/80-sopssecret.isindir.github.com.default.s.yaml '[.kind, .items[0].kind]')"
file=$out/01-greeter/42-deployment.greetings.hi.yaml
check "the digest is that of the object without it" "$(jq -r '.metadata.annotations["vanixiets.dev/digest"]' "$file")" \
  "$(jq -cS 'del(.metadata.annotations["vanixiets.dev/digest"]) | if .metadata.annotations == {} then del(.metadata.annotations) else . end' "$file" | sha256sum | cut -c 1-64)"
check "hooks are left out" "" "$(find "$out" -name '48-*')"
check "and named" "render: chart \`hi\` of component \`greeter\`: hooks are left out: Job/hook (post-install)" \
  "$(grep -F 'hooks are left out' "$said")"
mv "$out" "$work/first"
render .
check "rendering twice gives the same bytes" "" "$(diff -r "$work/first" "$out" 2>&1)"

render '.objects[0].object.metadata.name = ("x" * 250)'
check "a long file name is cut and ends in a digest" "200 $(printf '04-namespace._.%s' "$(printf 'x%.0s' {1..250})" | sha256sum | cut -c 1-12)" \
  "$(find "$out/01-greeter" -name '04-*' -printf '%f\n' | sed 's/\.yaml$//' | awk '{print length($0), substr($0, length($0) - 11)}')"

render '.charts[0].source.path = null | .secrets[0].asked = true | .secrets[0].source.path = null' --skip-missing
check "what has no source is left out by name when asked" '["chart `hi` of component `greeter`"]' "$(jq -c . "$out/skipped.json")"
check "an item that is then empty is not in the description" '["01-greeter","01-greeter-custom"]' "$(jq -c '[.items[].directory]' "$out/stage.json")"

refuses "a chart without a source is refused" 'no source at `null`' '.charts[0].source.path = null'
refuses "a namespaced object without a namespace is refused" 'Deployment _/hi needs a namespace' '.charts[0].setNamespace = false | .charts[0].patches = []'
refuses "a patch that matches nothing is refused" 'these patches match nothing: Deployment other/hi' '.charts[0].patches[0].namespace = "other"'
refuses "a dependency that the chart does not have can't be dropped" 'dropped dependency `other` is not one of the chart' '.charts[0].dropDependencies = ["other"]'
native "a placeholder version is refused" 'is the placeholder v0.0.0' "$(workload example.org/greeter:v0.0.0)"
native "an image without tag or digest is refused" 'has neither tag nor digest' "$(workload example.org:5000/greeter)"
native "an image tagged latest is refused" 'is tagged latest' "$(workload example.org/greeter:latest)"
refuses "an object of two components is refused" 'is there 2 times, also from component `other` (native)' '.charts = [] | .manifests = [] | .secrets = [] | .objects += [.objects[0] | .component = "other"]'
native "a Secret with data is refused" 'has data in plain text' '{apiVersion: "v1", kind: "Secret", metadata: {name: "s", namespace: "default"}, stringData: {a: "b"}}'
native "an Ingress is refused" 'use an HTTPRoute' '{apiVersion: "networking.k8s.io/v1", kind: "Ingress", metadata: {name: "s", namespace: "default"}}'
refuses "a cluster-scoped object with a namespace is refused, also one whose scope only its CRD tells" 'is cluster-scoped but has a namespace' \
  '.objects += [{component: "greeter", object: {apiVersion: "example.org/v1", kind: "Greeting", metadata: {name: "s", namespace: "default"}}}]'
native "an object without a kind is refused" 'lacks apiVersion, kind or metadata.name' '{apiVersion: "v1", metadata: {name: "s"}}'
refuses "a component that renders something else than it states is refused" 'states that it contains plain, workloads' '.classes.greeter = ["plain", "workloads"]'
refuses "an object larger than an API server takes is refused" 'larger than the 1.5 MiB' '.charts = [] | .manifests = [] | .secrets = [] | .classes.greeter = ["plain"] | .objects[0].object.metadata.annotations.a = ("x" * 1600000)'
refuses "a secret that is not there is refused, with the remedy" '`xtask secrets init` makes it' '.secrets[0].source.path = "/nowhere"'
refuses "a secret that is not encrypted is refused" 'has to be one SopsSecret that sops encrypted' '.secrets[0].source.path |= sub("secret.enc.yaml"; "manifests/one.yaml")'
refuses "a key that stands twice is refused, with its file and line" 'twice.yaml: line 4: key `key` stands twice' '.manifests[0].files = ["traps"]'
refuses "a chart that renders a key twice is refused, with its template" 'greeter/templates/all.yaml: line' '.charts[0].values.image = "x\n          args: [twice]"'
refuses "a path that the source does not have is refused" 'the source has no `nowhere`' '.manifests[0].files = ["nowhere"]'
if render '.charts = [] | .manifests = [] | .secrets = [] | .classes.greeter = ["plain"] | .objects += [.objects[0], {component: "greeter", object: {apiVersion: "v1", kind: "ConfigMap", metadata: {name: "s"}}}]'; then
  check "several problems" "an error" "no error"
else
  check "all problems are told at once" 2 "$(grep -c '^render: ' "$said")"
fi

if reading=$("$("$here/render.sh" --python)" "$fixtures/documents-tests.py"); then
  check "documents are read as the API server reads them" "0 wrong" "${reading##*, }"
else
  check "documents are read as the API server reads them" "0 wrong" "$reading"
fi

printf '%d renderer tests, %d failed\n' "$count" "$failures"
[[ $failures -eq 0 ]]
