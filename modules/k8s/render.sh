#!/usr/bin/env bash
# Renders one stage: a spec (JSON, see stages.nix) to a kluctl project. It reads nothing but the spec and the sources that it names.
# usage: render.sh [--skip-missing] SPEC.json OUTDIR
#        render.sh --python      prints the Python that it takes
#   --skip-missing   leave out charts and manifests without a source, and list them in OUTDIR/skipped.json
# It needs jq, coreutils, Python with PyYAML (kislyuk's yq has one), and helm when the spec has charts.
# documents.py lies beside it, or where DOCUMENTS says.
set -o errexit -o nounset -o pipefail
shopt -s inherit_errexit
export LC_ALL=C TZ=UTC

fail() {
  printf 'render: %s\n' "$*" >&2
  exit 1
}

# The first Python that has PyYAML: the one on the PATH, or the one that yq begins with.
find_python() {
  local candidate yq
  yq=$(command -v yq || true)
  for candidate in python3 "$(head -c 200 "${yq:-/dev/null}" | head -n 1 | tr -d '\0' | sed -n 's/^#!\(\S*python\S*\).*/\1/p')"; do
    if [[ -n $candidate ]] && "$candidate" -c 'import yaml' 2>/dev/null; then
      printf '%s' "$candidate"
      return 0
    fi
  done
  fail "Python with PyYAML is needed to read YAML, and neither \`python3\` nor the yq on the PATH has it"
}

skip_missing=false
if [[ ${1:-} == --python ]]; then
  find_python
  exit
fi
if [[ ${1:-} == --skip-missing ]]; then
  skip_missing=true
  shift
fi
[[ $# -eq 2 ]] || fail "usage: render.sh [--skip-missing] SPEC.json OUTDIR"
spec=$1
out=$2
[[ -r $spec ]] || fail "no spec at \`$spec\`"
[[ ! -e $out ]] || [[ -d $out && -z $(ls -A "$out") ]] || fail "\`$out\` is not empty"
[[ $(jq -r .schema "$spec") == 1 ]] || fail "the spec's schema is not 1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# Sources are read at once, each by a job that writes `jobs/N.jsonl`: a line an object, {component, origin, object},
# and `list` for what stays inside a List. What is read is put together in the order of the spec.
mkdir "$work/jobs" "$work/skipped"
pids=()
job() {
  local number
  number=$(printf '%03d' "${#pids[@]}")
  "$@" "$number" >"$work/jobs/$number.jsonl" &
  pids+=($!)
}

# Tells whether a source is available; without one it is skipped or the end.
have_source() {
  local number=$1 what=$2 source=$3
  if [[ $source != null && -e $source ]]; then
    return 0
  fi
  $skip_missing || fail "$what: no source at \`$source\`"
  jq -n --arg what "$what" '$what' >"$work/skipped/$number"
  return 1
}

# YAML documents of files or stdin, a line each, read as the API server reads them; empty ones dropped.
documents=${DOCUMENTS:-$(dirname "${BASH_SOURCE[0]}")/documents.py}
exact=()
if [[ $(jq -n 9007199254740993) == 9007199254740993 ]]; then
  exact=(--exact)
fi
documents() {
  "$python" "$documents" "${exact[@]}" "$@"
}
# Lists taken apart, empty objects dropped.
flat='def flat: if type == "object" and ((.kind // "") | endswith("List")) and (.items | type) == "array" then .items[] | flat else . end;
  flat | select(. != null and . != {})'

native() {
  jq -c '.objects[] | {component, origin: "native", object}' "$spec"
}

chart() {
  local index=$1 number=$2 chart component release source path place what hooks
  chart=$work/chart-$index
  mkdir "$chart"
  jq -c --argjson i "$index" '.charts[$i]' "$spec" >"$chart/chart.json"
  read -r component release source < <(jq -r '[.component, .release, (.source.path // "null")] | join(" ")' "$chart/chart.json")
  what="chart \`$release\` of component \`$component\`"
  have_source "$number" "$what" "$source" || return 0

  path=$(jq -r .path "$chart/chart.json")
  place=$source${path:+/$path}
  [[ -e $place ]] || fail "$what: the source has no \`$path\`"
  if jq -e '.overwriteVersion != null or (.dropDependencies | length) > 0' "$chart/chart.json" >/dev/null; then
    [[ -d $place ]] || fail "$what: fix-ups need a folder, this source is a file"
    cp -rL --no-preserve=mode "$place" "$chart/source"
    place=$chart/source
    documents "$place/Chart.yaml" | jq --slurpfile chart "$chart/chart.json" '
      $chart[0] as $c
      | if $c.overwriteVersion == null then . else .version = $c.overwriteVersion | .appVersion = $c.overwriteVersion end
      | ([.dependencies[]?.name]) as $known
      | reduce $c.dropDependencies[] as $d (.;
          if $known | index($d) then .dependencies |= map(select(.name != $d))
          else error("dropped dependency `\($d)` is not one of the chart: \($known | join(", "))") end)
      | if .dependencies == [] then del(.dependencies) else . end
    ' >"$chart/Chart.json" || fail "$what: its Chart.yaml can't be fixed up"
    # JSON is YAML.
    mv "$chart/Chart.json" "$place/Chart.yaml"
    rm -f "$place/Chart.lock"
  fi

  jq .values "$chart/chart.json" >"$chart/values.json"
  local arguments=(template "$release" "$place" --values "$chart/values.json")
  arguments+=(--namespace "$(jq -r .namespace "$chart/chart.json")" --kube-version "$(jq -r .kubeVersion "$spec")")
  if [[ $(jq -r .includeCRDs "$chart/chart.json") == true ]]; then
    arguments+=(--include-crds)
  fi
  while IFS= read -r version; do
    arguments+=(--api-versions "$version")
  done < <(jq -r '.apiVersions[]' "$chart/chart.json")
  mkdir "$chart/home"
  HOME=$chart/home HELM_CACHE_HOME=$chart/home HELM_CONFIG_HOME=$chart/home HELM_DATA_HOME=$chart/home \
    helm "${arguments[@]}" >"$chart/rendered.yaml" || fail "$what: helm failed"
  documents <"$chart/rendered.yaml" >"$chart/documents.jsonl" || fail "$what: helm rendered what the API server would not read"

  # kluctl would delete a hook before it makes it anew, at every deploy: none is rendered, and each is named.
  jq -c "$flat" "$chart/documents.jsonl" >"$chart/objects.jsonl"
  hooks=$(jq -r -n '
    [inputs | select(.metadata.annotations["helm.sh/hook"]?)
      | "\(.kind)/\(.metadata.name) (\(.metadata.annotations["helm.sh/hook"]))"] | join(", ")' "$chart/objects.jsonl")
  [[ -z $hooks ]] || printf 'render: %s: hooks are left out: %s\n' "$what" "$hooks" >&2
  jq -c 'select(.metadata.annotations["helm.sh/hook"]? | not)' "$chart/objects.jsonl" | jq -c -n --slurpfile chart "$chart/chart.json" --slurpfile spec "$spec" '
    def merge($patch):
      if ($patch | type) != "object" then $patch
      else
        (if type == "object" then . else {} end)
        | reduce ($patch | to_entries[]) as $e (.;
            if $e.value == null then del(.[$e.key]) else .[$e.key] = (.[$e.key] | merge($e.value)) end)
      end;
    def group: if (.apiVersion // "") | contains("/") then .apiVersion | split("/")[0] else "" end;
    $chart[0] as $c
    | ([inputs]) as $objects
    | (($spec[0].kinds | map({key: "\(.group)/\(.kind)", value: .namespaced}) | from_entries)
        + ([$objects[] | select(.kind == "CustomResourceDefinition")
            | {key: "\(.spec.group)/\(.spec.names.kind)", value: (.spec.scope == "Namespaced")}] | from_entries)) as $namespaced
    | ($objects | map(
        "\(group)/\(.kind)" as $kind
        | if $c.setNamespace and (.metadata.namespace // "") == "" and ($namespaced[$kind] | . != false)
          then .metadata.namespace = $c.namespace else . end)) as $objects
    | def matches($p): .kind == $p.kind and .metadata.name == $p.name and (.metadata.namespace // "") == $p.namespace;
      ($c.patches | map(select(. as $p | [$objects[] | select(matches($p))] | length == 0))) as $unmatched
    | if ($unmatched | length) > 0
      then error("these patches match nothing: " + ($unmatched | map("\(.kind) \(.namespace)/\(.name)") | join(", ")))
      else . end
    | $objects[]
    | reduce $c.patches[] as $p (.; if matches($p) then merge($p.patch) else . end)
    | {component: $c.component, origin: "chart `\($c.release)`", object: .}
  ' || fail "$what can't be patched"
}

manifests() {
  local index=$1 number=$2 component name source what file place candidate files=()
  read -r component name source < <(jq -r --argjson i "$index" '.manifests[$i] | [.component, .name, (.source.path // "null")] | join(" ")' "$spec")
  what="manifests \`$name\` of component \`$component\`"
  have_source "$number" "$what" "$source" || return 0
  while IFS= read -r file; do
    place=$source${file:+/$file}
    if [[ -d $place ]]; then
      for candidate in "$place"/*.yaml "$place"/*.yml; do
        [[ -f $candidate && ${candidate##*/} != kustomization.y*ml ]] && files+=("$candidate")
      done
    elif [[ -e $place ]]; then
      files+=("$place")
    else
      fail "$what: the source has no \`$file\`"
    fi
  done < <(jq -r --argjson i "$index" '.manifests[$i].files[]' "$spec")
  [[ ${#files[@]} -gt 0 ]] || fail "$what: no YAML in its files"
  documents "${files[@]}" | jq -c --arg component "$component" --arg name "$name" \
    "$flat"' | {component: $component, origin: "manifests `\($name)`", object: .}' || fail "$what can't be read"
}

secrets() {
  local component file asked source
  while IFS=$'\t' read -r component file asked source; do
    # Nobody gave its values yet; the check of the secrets says so before a deploy.
    [[ $asked == true && ! -e $source ]] && continue
    [[ -e $source ]] || fail "component \`$component\`: no secret at \`$file\`; \`xtask secrets init\` makes it"
    documents "$source" | jq -c -n --arg component "$component" --arg file "$file" '
      [inputs] as $documents
      | if ($documents | length) != 1 or ($documents[0] | .kind != "SopsSecret" or (.sops.mac // "") == "")
        then error("`\($file)` has to be one SopsSecret that sops encrypted") else . end
      | {component: $component, origin: "secret `\($file)`", list: true, object: $documents[0]}
    ' || fail "component \`$component\`: \`$file\` can't be taken"
  done < <(jq -r '.secrets[] | [.component, .file, .asked, .source.path // "null"] | @tsv' "$spec")
}

read -r chart_count manifest_count secret_count < <(jq -r '[.charts, .manifests, .secrets] | map(length) | join(" ")' "$spec")
if [[ $((chart_count + manifest_count + secret_count)) -gt 0 ]]; then
  python=$(find_python)
fi
job native
for ((i = 0; i < chart_count; i++)); do job chart "$i"; done
for ((i = 0; i < manifest_count; i++)); do job manifests "$i"; done
if [[ $secret_count -gt 0 ]]; then job secrets; fi
failed=false
for pid in "${pids[@]}"; do
  wait "$pid" || failed=true
done
# Each job said what was wrong.
! $failed || exit 1
cat "$work"/jobs/*.jsonl >"$work/entries.jsonl"

# Normal form, and every check that needs the objects; all problems at once.
jq -c -n --slurpfile spec "$spec" --argjson partial "$skip_missing" '
  def group: if (.apiVersion // "") | contains("/") then .apiVersion | split("/")[0] else "" end;
  def clean:
    if type == "object" then with_entries(select(.value != null) | .value |= clean)
    elif type == "array" then map(clean) else . end;
  def without_empty_bundle: if (.caBundle? // null) == "" then del(.caBundle) else . end;
  def normal:
    # Most objects have no null, and looking is much quicker than building them anew.
    (if any(..; . == null) then clean else . end)
    | del(.metadata.creationTimestamp, .status)
    | if .kind == "Secret" and (group == "") and has("stringData")
      then .data = ((.data // {}) + (.stringData | map_values(@base64))) | del(.stringData) else . end
    | if .kind == "ClusterRole" and has("aggregationRule") then del(.rules) else . end
    | if (.webhooks | type) == "array" then .webhooks |= map(.clientConfig |= without_empty_bundle) else . end
    | if .kind == "CustomResourceDefinition" and (.spec.conversion.webhook.clientConfig? | type) == "object"
      then .spec.conversion.webhook.clientConfig |= without_empty_bundle else . end
    | if .kind == "APIService" then .spec |= without_empty_bundle else . end
    | if (.kind == "Namespace" and group == "") or .kind == "CustomResourceDefinition"
      then .metadata.annotations["kluctl.io/skip-delete"] = "true" else . end
    | del(.metadata.annotations["vanixiets.dev/digest"])
    | if .metadata.annotations == {} then del(.metadata.annotations) else . end;
  # Goldens keep upstream objects as facts and our own whole; only here is it known which is which.
  def marked($origin):
    if $origin | startswith("chart ") then .metadata.annotations["vanixiets.dev/source"] = "chart"
    elif $origin | startswith("manifests ") then .metadata.annotations["vanixiets.dev/source"] = "manifest"
    else . end;
  def pod_spec:
    if .kind == "Pod" then .spec
    elif .kind == "CronJob" then .spec.jobTemplate.spec.template.spec
    else .spec.template.spec? end
    | select(type == "object");
  def images: [pod_spec | (.initContainers, .containers, .ephemeralContainers) | arrays[] | .image | strings];
  def bad_image:
    (sub("@.*$"; "") | split("/") | last) as $last
    | if test("[:-]v0\\.0\\.0($|[@-])") then "is the placeholder v0.0.0"
      elif test("@sha256:[0-9a-f]{64}$") then empty
      elif ($last | contains(":") | not) then "has neither tag nor digest"
      elif ($last | endswith(":latest")) then "is tagged latest"
      else empty end;
  $spec[0] as $s
  | [inputs | .origin as $origin | .object |= (normal | marked($origin))] as $entries
  | ($s.kinds | map({key: "\(.group)/\(.kind)", value: .}) | from_entries) as $table
  | ([$entries[].object | select(.kind == "CustomResourceDefinition")
      | {key: "\(.spec.group)/\(.spec.names.kind)", value: (.spec.scope == "Namespaced")}] | from_entries) as $scopes
  | [$entries[]
      | .object as $o
      | "\($o | group)/\($o.kind)" as $kind
      | ($table[$kind] // {rank: 80, class: "custom", namespaced: true}) as $row
      | . + {
          group: ($o | group),
          rank: $row.rank,
          class: $row.class,
          # Without all CRDs the scope of a kind that the table does not have is unknown.
          namespaced: (
            if $scopes | has($kind) then $scopes[$kind]
            elif $partial and ($table | has($kind) | not) then null
            else $row.namespaced end),
          what: "component `\(.component)` (\(.origin)): \($o.kind) \($o.metadata.namespace // "_")/\($o.metadata.name // "?")"
        }
    ] as $entries
  | [
      ($entries[]
        | .what as $what | .object as $o
        | (if ($o.apiVersion | type) != "string" or ($o.kind | type) != "string" or ($o.metadata.name | type) != "string"
           then "\($what) lacks apiVersion, kind or metadata.name" else empty end),
          (if .namespaced == true and ($o.metadata.namespace // "") == "" then "\($what) needs a namespace" else empty end),
          (if .namespaced == false and ($o.metadata.namespace // "") != "" then "\($what) is cluster-scoped but has a namespace" else empty end),
          (if $o.kind == "Secret" and .group == "" and (($o.data // {}) | length) > 0
           then "\($what) has data in plain text; state a SopsSecret, or turn off what makes it" else empty end),
          (if $o.kind == "Ingress" then "\($what) has no controller here; use an HTTPRoute to the main gateway" else empty end),
          ($o | images[] | . as $image | bad_image | "\($what): the image `\($image)` \(.)")),
      ($entries | group_by([.group, .object.kind, .object.metadata.namespace // "", .object.metadata.name // ""])[]
        | select(length > 1) | "\(.[0].what) is there \(length) times, also from " + (.[1:] | map("component `\(.component)` (\(.origin))") | unique | join(", "))),
      ($s.classes | to_entries[]
        | .key as $component | .value as $stated
        | ([$entries[] | select(.component == $component) | .class] | unique) as $found
        | if $partial and ($found - $stated == []) then empty
          elif $found != $stated
          then "component `\($component)` states that it contains \($stated | join(", ")), its objects are \($found | join(", "))" else empty end)
    ] as $problems
  | if ($problems | length) > 0 then ($problems | map("render: \(.)\n") | add | halt_error(1)) else . end
  | $entries[]
  | {component, list: (.list // false), rank, group, class, object}
' "$work/entries.jsonl" >"$work/normal.jsonl"

# The digest of each object, over its canonical form without the annotation that holds it.
mkdir "$work/canonical"
jq -cS .object "$work/normal.jsonl" | split -l 1 -a 6 -d - "$work/canonical/"
: >"$work/digests"
if [[ -s $work/normal.jsonl ]]; then
  while IFS= read -r large; do
    fail "an object is larger than the 1.5 MiB that an API server takes: $(head -c 300 "$large")"
  done < <(find "$work/canonical" -type f -size +1572864c)
  find "$work/canonical" -type f -print0 | sort -z | xargs -0 sha256sum | cut -c 1-64 >"$work/digests"
fi

# Path and content of each file, a line each. Nothing in a path needs escaping, so its quotes can be cut off.
jq -R . "$work/digests" >"$work/digests.json"
jq -cS -n --slurpfile spec "$spec" --slurpfile digests "$work/digests.json" '
  def hex: [(. / 16 | floor), . % 16] | map("0123456789ABCDEF"[.:. + 1]) | add;
  def encoded:
    [match("."; "g").string
      | if test("^[a-z0-9.-]$") then . elif (explode[0] < 128) then "%" + (explode[0] | hex) else @uri end] | add // "";
  [inputs] | to_entries[]
  | .value.object.metadata.annotations["vanixiets.dev/digest"] = $digests[.key]
  | .value
  | (.rank | if . < 10 then "0\(.)" else "\(.)" end) as $rank
  | (.object.kind | ascii_downcase) as $kind
  | (if .class == "custom" then ".\(.group)" else "" end) as $group
  | ((.object.metadata.namespace // "") | if . == "" then "_" else encoded end) as $namespace
  | "\($rank)-\($kind)\($group).\($namespace).\(.object.metadata.name | encoded)" as $name
  | $spec[0].folders[.component][.class] as $folder
  | "\($folder)/\($name)", (if .list then {apiVersion: "v1", kind: "List", items: [.object]} else .object end)
' "$work/normal.jsonl" >"$work/files"

while IFS= read -r path && IFS= read -r content; do
  path=${path//\"/}
  folder=${path%%/*}
  name=${path#*/}
  # File systems end at 255 bytes.
  if [[ ${#name} -gt 200 ]]; then
    digest=$(printf '%s' "$name" | sha256sum)
    name=${name:0:187}-${digest:0:12}
  fi
  mkdir -p "$out/$folder"
  file=$out/$folder/$name.yaml
  [[ ! -e $file ]] || fail "two objects share the file \`$folder/$name.yaml\`"
  printf '%s\n' "$content" >"$file"
done <"$work/files"

# The project itself. Only with --skip-missing can an item be empty; then it is left out of the description too.
(cd "$out" && find . -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort) | jq -R . | jq -s . >"$work/folders.json"
jq -S --slurpfile folders "$work/folders.json" --argjson partial "$skip_missing" '
  .stage
  | ([.items[].directory] - $folders[0]) as $empty
  | if ($empty | length) > 0 and ($partial | not) then error("items without an object: \($empty | join(", "))") else . end
  | .items |= map(select(.directory as $d | $empty | index($d) | not))
  | ([.items[].component] | unique) as $components
  | .gates |= map(select(.component as $c | $components | index($c)))
  | ([.items[].phase] | unique) as $left
  | .phases |= map(select(. as $p | $left | index($p)))
' "$spec" >"$out/stage.json"
jq '{discriminator: .discriminator}' "$out/stage.json" >"$out/.kluctl.yaml"
jq '{
  deployments: [
    .items[]
    | ({path: .directory, tags: ["phase-\(.phase)", "component-\(.component)", "item-\(.directory)"]} + (if .waitReadiness then {waitReadiness: true} else {} end)),
      (if .barrier then {barrier: true, message: "after \(.directory)"} else empty end)
  ]
}' "$out/stage.json" >"$out/deployment.yaml"
# kluctl runs Jinja2 over every file that is not ignored, and manifests may hold braces of their own.
printf '*\n' >"$out/.templateignore"
if [[ -n $(ls -A "$work/skipped") ]]; then
  cat "$work"/skipped/* | jq -s . >"$out/skipped.json"
  jq -r '"render: skipped \(.[])"' "$out/skipped.json" >&2
fi
