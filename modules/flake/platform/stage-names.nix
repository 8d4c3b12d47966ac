# Stages in the order in which they are listed; an enum without default wherever one is asked for.
[
  "local"
  "capi"
  "full"
]
