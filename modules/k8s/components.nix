# Every component of ours; a consumer adds folders of its own with `platform.componentModules`.
[
  ./namespaces
]
