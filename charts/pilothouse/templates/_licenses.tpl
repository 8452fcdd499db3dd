{{/* What both admission policies on licenses have in common. */}}

{{- define "pilothouse.licenses.constraints" -}}
# The object itself only: the status and the scale subresource stay free, and reconcile starts no pod that is denied.
resourceRules:
- apiGroups: [pilothouse.dev]
  apiVersions: [v1alpha1]
  operations: [CREATE, UPDATE]
  resources: [modeldeployments]
{{- end }}

{{- define "pilothouse.licenses.conditions" -}}
# What was let in before stays editable but for its spec, and can always be made smaller.
- name: changes-the-spec
  expression: oldObject == null || object.spec != oldObject.spec
- name: does-more-than-scale-down
  expression: >-
    oldObject == null
    || object.spec.?replicas.orValue(1) >= oldObject.spec.?replicas.orValue(1)
    || !object.spec.all(field, field == 'replicas'
         || (field in oldObject.spec && object.spec[field] == oldObject.spec[field]))
    || !oldObject.spec.all(field, field == 'replicas' || field in object.spec)
{{- end }}

{{- define "pilothouse.licenses.variables" -}}
- name: declared
  expression: object.spec.model.license.id
- name: id
  expression: variables.declared.lowerAscii()
- name: plain
  expression: variables.id.matches('^[a-z0-9.-]+$')
- name: rules
  expression: params.spec.?rules.orValue([])
# The numbers of the rules that name it; a LicensePolicy has at most 16.
- name: naming
  expression: >-
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].filter(n,
      n < variables.rules.size() && variables.rules[n].ids.exists(i, i.lowerAscii() == variables.id))
- name: decision
  expression: >-
    !variables.plain ? 'Undecided'
    : variables.naming.size() == 0 ? params.spec.?default.orValue('Deny')
    : variables.naming.exists(n, variables.rules[n].decision == 'Deny') ? 'Deny'
    : variables.naming.exists(n, variables.rules[n].decision == 'RequireApproval') ? 'RequireApproval'
    : 'Allow'
- name: said
  expression: >-
    variables.naming.size() == 0 ? 'spec.default: no rule names it'
    : variables.naming.filter(n, variables.rules[n].decision == variables.decision).map(n,
        'spec.rules[' + string(n) + '] (' + variables.declared + '): '
        + variables.rules[n].?reason.orValue('no reason is given')).join('; ')
{{- end }}
