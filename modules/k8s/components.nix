# Every component of ours; a consumer adds folders of its own with `platform.componentModules`.
[
  ./coredns
  ./coredns-custom
  ./external-dns
  ./gateway
  ./gateway-api
  ./issuers
  ./local-path-provisioner
  ./metrics-server
  ./namespaces
  ./sops-secrets-operator
  ./step-ca
]
