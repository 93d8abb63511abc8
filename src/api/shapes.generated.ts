/** Generated from src/api/v1alpha1 by tools/generate-crds.ts (npm run generate). Do not edit. */
import type { Shape } from './shape.ts';

export const SHAPES: Readonly<Record<'VirtualServer' | 'VIPPool' | 'DirectorGroup' | 'VirtualIP' | 'VirtualServerProgram' | 'IPVSNode', Shape>> = {
 "VirtualServer": {
  "type": "object",
  "required": [
   "apiVersion",
   "kind",
   "metadata",
   "spec"
  ],
  "properties": {
   "apiVersion": {
    "type": "string",
    "enum": [
     "ipvs-operator.dev/v1alpha1"
    ]
   },
   "kind": {
    "type": "string",
    "enum": [
     "VirtualServer"
    ]
   },
   "metadata": {
    "type": "object",
    "required": [
     "name"
    ],
    "properties": {
     "name": {
      "type": "string",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
      "maxLength": 63
     },
     "namespace": {
      "type": "string",
      "default": "default",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
      "maxLength": 63
     },
     "labels": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "annotations": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "uid": {},
     "resourceVersion": {},
     "generation": {},
     "generateName": {},
     "creationTimestamp": {},
     "deletionTimestamp": {},
     "deletionGracePeriodSeconds": {},
     "managedFields": {},
     "ownerReferences": {},
     "finalizers": {},
     "selfLink": {}
    }
   },
   "spec": {
    "type": "object",
    "required": [
     "mode",
     "ports",
     "backends"
    ],
    "properties": {
     "vip": {
      "type": "object",
      "properties": {
       "poolRef": {
        "type": "object",
        "required": [
         "name"
        ],
        "properties": {
         "name": {
          "type": "string",
          "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
          "maxLength": 253
         }
        }
       },
       "families": {
        "type": "array",
        "minItems": 1,
        "maxItems": 2,
        "items": {
         "type": "string",
         "enum": [
          "IPv4",
          "IPv6"
         ]
        }
       },
       "addresses": {
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "items": {
         "type": "string",
         "minLength": 2,
         "maxLength": 45
        }
       },
       "sharedFrom": {
        "type": "object",
        "required": [
         "name"
        ],
        "properties": {
         "name": {
          "type": "string",
          "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
          "maxLength": 63
         }
        }
       }
      }
     },
     "mode": {
      "type": "string",
      "enum": [
       "NAT",
       "DR",
       "TUN"
      ]
     },
     "nat": {
      "type": "object",
      "properties": {
       "sourceAddress": {
        "type": "string",
        "default": "Auto",
        "enum": [
         "Auto",
         "Preserve",
         "Masquerade",
         "VirtualIP"
        ]
       }
      }
     },
     "tun": {
      "type": "object",
      "properties": {
       "encapsulation": {
        "type": "string",
        "default": "IPIP",
        "enum": [
         "IPIP",
         "GUE",
         "GRE"
        ]
       },
       "port": {
        "type": "integer",
        "minimum": 1,
        "maximum": 65535
       },
       "checksum": {
        "type": "string",
        "default": "None",
        "enum": [
         "None",
         "Checksum",
         "RemoteChecksum"
        ]
       }
      }
     },
     "ports": {
      "type": "array",
      "minItems": 1,
      "maxItems": 64,
      "items": {
       "type": "object",
       "required": [
        "port"
       ],
       "properties": {
        "name": {
         "type": "string",
         "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
         "maxLength": 63
        },
        "port": {
         "type": "integer",
         "minimum": 1,
         "maximum": 65535
        },
        "endPort": {
         "type": "integer",
         "minimum": 1,
         "maximum": 65535
        },
        "protocol": {
         "type": "string",
         "default": "TCP",
         "enum": [
          "TCP",
          "UDP",
          "SCTP"
         ]
        },
        "targetPort": {
         "type": "integer",
         "minimum": 1,
         "maximum": 65535
        }
       }
      }
     },
     "scheduler": {
      "type": "object",
      "default": {
       "name": "wrr",
       "fallback": false,
       "portAware": false,
       "onePacket": false
      },
      "properties": {
       "name": {
        "type": "string",
        "default": "wrr",
        "enum": [
         "rr",
         "wrr",
         "lc",
         "wlc",
         "sh",
         "dh",
         "sed",
         "nq",
         "lblc",
         "lblcr",
         "mh",
         "fo",
         "ovf"
        ]
       },
       "fallback": {
        "type": "boolean",
        "default": false
       },
       "portAware": {
        "type": "boolean",
        "default": false
       },
       "onePacket": {
        "type": "boolean",
        "default": false
       }
      }
     },
     "persistence": {
      "type": "object",
      "properties": {
       "timeoutSeconds": {
        "type": "integer",
        "default": 300,
        "minimum": 1,
        "maximum": 2147483
       },
       "ipv4PrefixLength": {
        "type": "integer",
        "default": 32,
        "minimum": 1,
        "maximum": 32
       },
       "ipv6PrefixLength": {
        "type": "integer",
        "default": 128,
        "minimum": 1,
        "maximum": 128
       },
       "engine": {
        "type": "string",
        "enum": [
         "sip"
        ]
       },
       "scope": {
        "type": "string",
        "default": "Port",
        "enum": [
         "Port",
         "AllPorts"
        ]
       }
      }
     },
     "backends": {
      "type": "array",
      "minItems": 1,
      "maxItems": 16,
      "items": {
       "type": "object",
       "properties": {
        "weight": {
         "type": "integer",
         "default": 1,
         "minimum": 0,
         "maximum": 65535
        },
        "static": {
         "type": "object",
         "required": [
          "endpoints"
         ],
         "properties": {
          "endpoints": {
           "type": "array",
           "maxItems": 1000,
           "items": {
            "type": "object",
            "required": [
             "address"
            ],
            "properties": {
             "address": {
              "type": "string",
              "minLength": 2,
              "maxLength": 45
             },
             "weight": {
              "type": "integer",
              "minimum": 0,
              "maximum": 65535
             }
            }
           }
          }
         }
        },
        "serviceRef": {
         "type": "object",
         "required": [
          "name"
         ],
         "properties": {
          "name": {
           "type": "string",
           "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
           "maxLength": 63
          },
          "namespace": {
           "type": "string",
           "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
           "maxLength": 63
          },
          "port": {
           "x-kubernetes-int-or-string": true,
           "minimum": 1,
           "maximum": 65535,
           "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
           "maxLength": 63
          },
          "podWeights": {
           "type": "string",
           "default": "Ignore",
           "enum": [
            "Ignore",
            "Annotation"
           ]
          }
         }
        },
        "nodes": {
         "type": "object",
         "required": [
          "selector"
         ],
         "properties": {
          "selector": {
           "type": "object",
           "required": [
            "matchLabels"
           ],
           "properties": {
            "matchLabels": {
             "type": "object",
             "maxProperties": 64,
             "additionalProperties": {
              "type": "string",
              "maxLength": 63
             }
            }
           }
          }
         }
        }
       }
      }
     },
     "trafficPolicy": {
      "type": "string",
      "default": "Cluster",
      "enum": [
       "Cluster",
       "Local"
      ]
     },
     "connectionLimits": {
      "type": "object",
      "default": {
       "upper": 0,
       "lower": 0
      },
      "properties": {
       "upper": {
        "type": "integer",
        "default": 0,
        "minimum": 0,
        "maximum": 2147483647
       },
       "lower": {
        "type": "integer",
        "default": 0,
        "minimum": 0,
        "maximum": 2147483647
       }
      }
     },
     "healthCheck": {
      "type": "object",
      "properties": {
       "type": {
        "type": "string",
        "default": "TCP",
        "enum": [
         "None",
         "TCP",
         "HTTP",
         "HTTPS",
         "GRPC",
         "UDP",
         "DNS"
        ]
       },
       "port": {
        "type": "integer",
        "minimum": 1,
        "maximum": 65535
       },
       "path": {
        "type": "string",
        "default": "Direct",
        "enum": [
         "Direct",
         "Forwarded"
        ]
       },
       "periodSeconds": {
        "type": "integer",
        "default": 5,
        "minimum": 1,
        "maximum": 3600
       },
       "timeoutSeconds": {
        "type": "integer",
        "default": 2,
        "minimum": 1,
        "maximum": 3600
       },
       "riseCount": {
        "type": "integer",
        "default": 2,
        "minimum": 1,
        "maximum": 100
       },
       "fallCount": {
        "type": "integer",
        "default": 3,
        "minimum": 1,
        "maximum": 100
       },
       "onFailure": {
        "type": "string",
        "default": "Quiesce",
        "enum": [
         "Quiesce",
         "Remove"
        ]
       },
       "panicThresholdPercent": {
        "type": "integer",
        "default": 0,
        "minimum": 0,
        "maximum": 100
       },
       "http": {
        "type": "object",
        "properties": {
         "path": {
          "type": "string",
          "default": "/",
          "maxLength": 1024
         },
         "host": {
          "type": "string",
          "default": "",
          "maxLength": 253
         },
         "expectedStatuses": {
          "type": "array",
          "default": [
           200
          ],
          "minItems": 1,
          "maxItems": 100,
          "items": {
           "type": "integer",
           "minimum": 200,
           "maximum": 599
          }
         },
         "caBundle": {
          "type": "string",
          "default": "",
          "maxLength": 16384
         }
        }
       },
       "grpc": {
        "type": "object",
        "properties": {
         "service": {
          "type": "string",
          "default": "",
          "maxLength": 1024
         },
         "transport": {
          "type": "string",
          "default": "Plaintext",
          "enum": [
           "Plaintext",
           "TLS"
          ]
         }
        }
       },
       "udp": {
        "type": "object",
        "properties": {
         "payload": {
          "type": "string",
          "default": "",
          "maxLength": 1368
         },
         "expectReply": {
          "type": "boolean",
          "default": false
         }
        }
       },
       "dns": {
        "type": "object",
        "required": [
         "name"
        ],
        "properties": {
         "name": {
          "type": "string",
          "maxLength": 254
         },
         "record": {
          "type": "string",
          "default": "A",
          "enum": [
           "A",
           "AAAA"
          ]
         },
         "expectedAddress": {
          "type": "string",
          "default": "",
          "maxLength": 45
         }
        }
       }
      }
     },
     "slowStart": {
      "type": "object",
      "properties": {
       "windowSeconds": {
        "type": "integer",
        "default": 0,
        "minimum": 0,
        "maximum": 3600
       }
      }
     },
     "drain": {
      "type": "object",
      "default": {
       "timeoutSeconds": 300
      },
      "properties": {
       "timeoutSeconds": {
        "type": "integer",
        "default": 300,
        "minimum": 0,
        "maximum": 86400
       }
      }
     },
     "suspend": {
      "type": "boolean",
      "default": false
     }
    }
   },
   "status": {}
  }
 },
 "VIPPool": {
  "type": "object",
  "required": [
   "apiVersion",
   "kind",
   "metadata",
   "spec"
  ],
  "properties": {
   "apiVersion": {
    "type": "string",
    "enum": [
     "ipvs-operator.dev/v1alpha1"
    ]
   },
   "kind": {
    "type": "string",
    "enum": [
     "VIPPool"
    ]
   },
   "metadata": {
    "type": "object",
    "required": [
     "name"
    ],
    "properties": {
     "name": {
      "type": "string",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
      "maxLength": 253
     },
     "labels": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "annotations": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "uid": {},
     "resourceVersion": {},
     "generation": {},
     "generateName": {},
     "creationTimestamp": {},
     "deletionTimestamp": {},
     "deletionGracePeriodSeconds": {},
     "managedFields": {},
     "ownerReferences": {},
     "finalizers": {},
     "selfLink": {}
    }
   },
   "spec": {
    "type": "object",
    "required": [
     "blocks"
    ],
    "properties": {
     "blocks": {
      "type": "array",
      "minItems": 1,
      "maxItems": 64,
      "items": {
       "type": "object",
       "properties": {
        "cidr": {
         "type": "string",
         "minLength": 4,
         "maxLength": 49
        },
        "start": {
         "type": "string",
         "minLength": 2,
         "maxLength": 45
        },
        "stop": {
         "type": "string",
         "minLength": 2,
         "maxLength": 45
        }
       }
      }
     },
     "excluded": {
      "type": "array",
      "default": [],
      "maxItems": 256,
      "items": {
       "type": "string",
       "minLength": 2,
       "maxLength": 45
      }
     },
     "allocateFirstLast": {
      "type": "boolean",
      "default": false
     },
     "autoAssign": {
      "type": "boolean",
      "default": true
     },
     "default": {
      "type": "boolean",
      "default": false
     },
     "allowedNamespaces": {
      "type": "object",
      "default": {
       "all": false
      },
      "properties": {
       "all": {
        "type": "boolean",
        "default": false
       },
       "matchLabels": {
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {
         "type": "string",
         "maxLength": 63
        }
       },
       "names": {
        "type": "array",
        "minItems": 1,
        "maxItems": 256,
        "items": {
         "type": "string",
         "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
         "maxLength": 63
        }
       }
      }
     },
     "quotaPerNamespace": {
      "type": "integer",
      "minimum": 1,
      "maximum": 1000000
     },
     "directorGroupRef": {
      "type": "object",
      "required": [
       "name"
      ],
      "properties": {
       "name": {
        "type": "string",
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "maxLength": 63
       }
      }
     },
     "allowStaticBackendCIDRs": {
      "type": "array",
      "default": [],
      "maxItems": 64,
      "items": {
       "type": "string",
       "minLength": 4,
       "maxLength": 49
      }
     },
     "disabled": {
      "type": "boolean",
      "default": false
     }
    }
   },
   "status": {}
  }
 },
 "DirectorGroup": {
  "type": "object",
  "required": [
   "apiVersion",
   "kind",
   "metadata"
  ],
  "properties": {
   "apiVersion": {
    "type": "string",
    "enum": [
     "ipvs-operator.dev/v1alpha1"
    ]
   },
   "kind": {
    "type": "string",
    "enum": [
     "DirectorGroup"
    ]
   },
   "metadata": {
    "type": "object",
    "required": [
     "name"
    ],
    "properties": {
     "name": {
      "type": "string",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
      "maxLength": 63
     },
     "labels": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "annotations": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "uid": {},
     "resourceVersion": {},
     "generation": {},
     "generateName": {},
     "creationTimestamp": {},
     "deletionTimestamp": {},
     "deletionGracePeriodSeconds": {},
     "managedFields": {},
     "ownerReferences": {},
     "finalizers": {},
     "selfLink": {}
    }
   },
   "spec": {
    "type": "object",
    "default": {
     "interface": {
      "match": "SubnetOf"
     },
     "failover": {
      "leaseDurationSeconds": 6,
      "renewSeconds": 2
     },
     "connectionSync": {
      "enabled": false,
      "syncId": 51
     }
    },
    "properties": {
     "nodeSelector": {
      "type": "object",
      "required": [
       "matchLabels"
      ],
      "properties": {
       "matchLabels": {
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {
         "type": "string",
         "maxLength": 63
        }
       }
      }
     },
     "interface": {
      "type": "object",
      "default": {
       "match": "SubnetOf"
      },
      "properties": {
       "match": {
        "type": "string",
        "default": "SubnetOf",
        "enum": [
         "SubnetOf",
         "Name",
         "Regex"
        ]
       },
       "name": {
        "type": "string",
        "pattern": "^[^\\s/:]+$",
        "minLength": 1,
        "maxLength": 15
       },
       "regex": {
        "type": "string",
        "minLength": 1,
        "maxLength": 128
       }
      }
     },
     "failover": {
      "type": "object",
      "default": {
       "leaseDurationSeconds": 6,
       "renewSeconds": 2
      },
      "properties": {
       "leaseDurationSeconds": {
        "type": "integer",
        "default": 6,
        "minimum": 3,
        "maximum": 60
       },
       "renewSeconds": {
        "type": "integer",
        "default": 2,
        "minimum": 1,
        "maximum": 20
       }
      }
     },
     "connectionSync": {
      "type": "object",
      "default": {
       "enabled": false,
       "syncId": 51
      },
      "properties": {
       "enabled": {
        "type": "boolean",
        "default": false
       },
       "interface": {
        "type": "string",
        "pattern": "^[^\\s/:]+$",
        "minLength": 1,
        "maxLength": 15
       },
       "syncId": {
        "type": "integer",
        "default": 51,
        "minimum": 1,
        "maximum": 255
       }
      }
     },
     "timeouts": {
      "type": "object",
      "properties": {
       "tcpSeconds": {
        "type": "integer",
        "default": 900,
        "minimum": 1,
        "maximum": 2147483
       },
       "tcpFinSeconds": {
        "type": "integer",
        "default": 120,
        "minimum": 1,
        "maximum": 2147483
       },
       "udpSeconds": {
        "type": "integer",
        "default": 300,
        "minimum": 1,
        "maximum": 2147483
       }
      }
     }
    }
   },
   "status": {}
  }
 },
 "VirtualIP": {
  "type": "object",
  "required": [
   "apiVersion",
   "kind",
   "metadata",
   "spec"
  ],
  "properties": {
   "apiVersion": {
    "type": "string",
    "enum": [
     "ipvs-operator.dev/v1alpha1"
    ]
   },
   "kind": {
    "type": "string",
    "enum": [
     "VirtualIP"
    ]
   },
   "metadata": {
    "type": "object",
    "required": [
     "name"
    ],
    "properties": {
     "name": {
      "type": "string",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
      "maxLength": 253
     },
     "labels": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "annotations": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "uid": {},
     "resourceVersion": {},
     "generation": {},
     "generateName": {},
     "creationTimestamp": {},
     "deletionTimestamp": {},
     "deletionGracePeriodSeconds": {},
     "managedFields": {},
     "ownerReferences": {},
     "finalizers": {},
     "selfLink": {}
    }
   },
   "spec": {
    "type": "object",
    "required": [
     "address",
     "family",
     "poolRef",
     "directorGroup",
     "claims"
    ],
    "properties": {
     "address": {
      "type": "string",
      "minLength": 2,
      "maxLength": 45
     },
     "family": {
      "type": "string",
      "enum": [
       "IPv4",
       "IPv6"
      ]
     },
     "poolRef": {
      "type": "object",
      "required": [
       "name"
      ],
      "properties": {
       "name": {
        "type": "string",
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "maxLength": 253
       }
      }
     },
     "directorGroup": {
      "type": "string",
      "maxLength": 63
     },
     "claims": {
      "type": "array",
      "maxItems": 256,
      "items": {
       "type": "object",
       "required": [
        "namespace",
        "name",
        "uid",
        "ports"
       ],
       "properties": {
        "namespace": {
         "type": "string",
         "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
         "maxLength": 63
        },
        "name": {
         "type": "string",
         "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
         "maxLength": 63
        },
        "uid": {
         "type": "string",
         "maxLength": 128
        },
        "ports": {
         "type": "array",
         "maxItems": 64,
         "items": {
          "type": "string",
          "maxLength": 16
         }
        }
       }
      }
     }
    }
   },
   "status": {
    "type": "object",
    "properties": {
     "activeNode": {
      "type": "string",
      "maxLength": 253
     },
     "since": {
      "type": "string",
      "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?(Z|[+-]\\d{2}:\\d{2})$",
      "maxLength": 64
     },
     "epoch": {
      "type": "integer",
      "minimum": 0
     },
     "mac": {
      "type": "string",
      "maxLength": 17
     },
     "claims": {
      "type": "integer",
      "minimum": 0,
      "maximum": 256
     },
     "conditions": {
      "type": "array",
      "maxItems": 16,
      "items": {
       "type": "object",
       "required": [
        "type",
        "status",
        "reason",
        "message",
        "lastTransitionTime"
       ],
       "properties": {
        "type": {
         "type": "string",
         "maxLength": 316
        },
        "status": {
         "type": "string",
         "enum": [
          "True",
          "False",
          "Unknown"
         ]
        },
        "reason": {
         "type": "string",
         "maxLength": 1024
        },
        "message": {
         "type": "string",
         "maxLength": 32768
        },
        "lastTransitionTime": {
         "type": "string",
         "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?(Z|[+-]\\d{2}:\\d{2})$",
         "maxLength": 64
        },
        "observedGeneration": {
         "type": "integer",
         "minimum": 0
        }
       }
      }
     }
    }
   }
  }
 },
 "VirtualServerProgram": {
  "type": "object",
  "required": [
   "apiVersion",
   "kind",
   "metadata",
   "spec"
  ],
  "properties": {
   "apiVersion": {
    "type": "string",
    "enum": [
     "ipvs-operator.dev/v1alpha1"
    ]
   },
   "kind": {
    "type": "string",
    "enum": [
     "VirtualServerProgram"
    ]
   },
   "metadata": {
    "type": "object",
    "required": [
     "name",
     "namespace"
    ],
    "properties": {
     "name": {
      "type": "string",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
      "maxLength": 253
     },
     "namespace": {
      "type": "string",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
      "maxLength": 63
     },
     "labels": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "annotations": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "uid": {},
     "resourceVersion": {},
     "generation": {},
     "generateName": {},
     "creationTimestamp": {},
     "deletionTimestamp": {},
     "deletionGracePeriodSeconds": {},
     "managedFields": {},
     "ownerReferences": {},
     "finalizers": {},
     "selfLink": {}
    }
   },
   "spec": {
    "type": "object",
    "required": [
     "directorGroup",
     "contentHash",
     "addresses",
     "mode",
     "sourceAddress",
     "scheduler",
     "services",
     "connectionLimits",
     "drainTimeoutSeconds",
     "slice",
     "generation",
     "virtualServer"
    ],
    "properties": {
     "directorGroup": {
      "type": "string",
      "maxLength": 63
     },
     "contentHash": {
      "type": "string",
      "maxLength": 64
     },
     "addresses": {
      "type": "array",
      "maxItems": 16,
      "items": {
       "type": "object",
       "required": [
        "address",
        "family"
       ],
       "properties": {
        "address": {
         "type": "string",
         "minLength": 2,
         "maxLength": 45
        },
        "family": {
         "type": "string",
         "enum": [
          "IPv4",
          "IPv6"
         ]
        }
       }
      }
     },
     "mode": {
      "type": "string",
      "enum": [
       "NAT",
       "DR",
       "TUN"
      ]
     },
     "sourceAddress": {
      "type": "string",
      "enum": [
       "Preserve",
       "Masquerade",
       "VirtualIP"
      ]
     },
     "tunnel": {
      "type": "object",
      "required": [
       "encapsulation",
       "port",
       "checksum"
      ],
      "properties": {
       "encapsulation": {
        "type": "string",
        "enum": [
         "IPIP",
         "GUE",
         "GRE"
        ]
       },
       "port": {
        "type": "integer",
        "minimum": 0,
        "maximum": 65535
       },
       "checksum": {
        "type": "string",
        "enum": [
         "None",
         "Checksum",
         "RemoteChecksum"
        ]
       }
      }
     },
     "scheduler": {
      "type": "object",
      "required": [
       "name",
       "fallback",
       "portAware",
       "onePacket"
      ],
      "properties": {
       "name": {
        "type": "string",
        "maxLength": 16
       },
       "fallback": {
        "type": "boolean"
       },
       "portAware": {
        "type": "boolean"
       },
       "onePacket": {
        "type": "boolean"
       }
      }
     },
     "persistence": {
      "type": "object",
      "required": [
       "timeoutSeconds",
       "ipv4PrefixLength",
       "ipv6PrefixLength",
       "engine"
      ],
      "properties": {
       "timeoutSeconds": {
        "type": "integer",
        "minimum": 1,
        "maximum": 2147483
       },
       "ipv4PrefixLength": {
        "type": "integer",
        "minimum": 1,
        "maximum": 32
       },
       "ipv6PrefixLength": {
        "type": "integer",
        "minimum": 1,
        "maximum": 128
       },
       "engine": {
        "type": "string",
        "maxLength": 16
       }
      }
     },
     "services": {
      "type": "array",
      "maxItems": 64,
      "items": {
       "type": "object",
       "required": [
        "ports",
        "mark",
        "realServers"
       ],
       "properties": {
        "ports": {
         "type": "array",
         "minItems": 1,
         "maxItems": 64,
         "items": {
          "type": "object",
          "required": [
           "name",
           "protocol",
           "port",
           "endPort"
          ],
          "properties": {
           "name": {
            "type": "string",
            "maxLength": 63
           },
           "protocol": {
            "type": "string",
            "enum": [
             "TCP",
             "UDP",
             "SCTP"
            ]
           },
           "port": {
            "type": "integer",
            "minimum": 1,
            "maximum": 65535
           },
           "endPort": {
            "type": "integer",
            "minimum": 1,
            "maximum": 65535
           }
          }
         }
        },
        "mark": {
         "type": "integer",
         "minimum": 0,
         "maximum": 2147483647
        },
        "realServers": {
         "type": "array",
         "maxItems": 1000,
         "items": {
          "type": "string",
          "maxLength": 320
         }
        }
       }
      }
     },
     "connectionLimits": {
      "type": "object",
      "required": [
       "upper",
       "lower"
      ],
      "properties": {
       "upper": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2147483647
       },
       "lower": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2147483647
       }
      }
     },
     "drainTimeoutSeconds": {
      "type": "integer",
      "minimum": 0,
      "maximum": 86400
     },
     "localOnly": {
      "type": "boolean",
      "enum": [
       true
      ]
     },
     "healthCheck": {
      "type": "object",
      "required": [
       "type",
       "port",
       "path",
       "periodSeconds",
       "timeoutSeconds",
       "riseCount",
       "fallCount",
       "onFailure",
       "panicThresholdPercent"
      ],
      "properties": {
       "type": {
        "type": "string",
        "enum": [
         "TCP",
         "HTTP",
         "HTTPS",
         "GRPC",
         "UDP",
         "DNS"
        ]
       },
       "port": {
        "type": "integer",
        "minimum": 0,
        "maximum": 65535
       },
       "path": {
        "type": "string",
        "enum": [
         "Direct",
         "Forwarded"
        ]
       },
       "periodSeconds": {
        "type": "integer",
        "minimum": 1,
        "maximum": 3600
       },
       "timeoutSeconds": {
        "type": "integer",
        "minimum": 1,
        "maximum": 3600
       },
       "riseCount": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100
       },
       "fallCount": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100
       },
       "onFailure": {
        "type": "string",
        "enum": [
         "Quiesce",
         "Remove"
        ]
       },
       "panicThresholdPercent": {
        "type": "integer",
        "minimum": 0,
        "maximum": 100
       },
       "http": {
        "type": "object",
        "required": [
         "path",
         "host",
         "expectedStatuses",
         "caBundle"
        ],
        "properties": {
         "path": {
          "type": "string",
          "maxLength": 1024
         },
         "host": {
          "type": "string",
          "maxLength": 253
         },
         "expectedStatuses": {
          "type": "array",
          "minItems": 1,
          "maxItems": 100,
          "items": {
           "type": "integer",
           "minimum": 200,
           "maximum": 599
          }
         },
         "caBundle": {
          "type": "string",
          "maxLength": 16384
         }
        }
       },
       "grpc": {
        "type": "object",
        "required": [
         "service"
        ],
        "properties": {
         "service": {
          "type": "string",
          "maxLength": 1024
         },
         "transport": {
          "type": "string",
          "enum": [
           "Plaintext",
           "TLS"
          ]
         }
        }
       },
       "udp": {
        "type": "object",
        "required": [
         "payload",
         "expectReply"
        ],
        "properties": {
         "payload": {
          "type": "string",
          "maxLength": 1368
         },
         "expectReply": {
          "type": "boolean"
         }
        }
       },
       "dns": {
        "type": "object",
        "required": [
         "name",
         "record",
         "expectedAddress"
        ],
        "properties": {
         "name": {
          "type": "string",
          "maxLength": 254
         },
         "record": {
          "type": "string",
          "enum": [
           "A",
           "AAAA"
          ]
         },
         "expectedAddress": {
          "type": "string",
          "maxLength": 45
         }
        }
       }
      }
     },
     "slowStartSeconds": {
      "type": "integer",
      "minimum": 1,
      "maximum": 3600
     },
     "slice": {
      "type": "object",
      "required": [
       "index",
       "count"
      ],
      "properties": {
       "index": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2047
       },
       "count": {
        "type": "integer",
        "minimum": 1,
        "maximum": 2048
       }
      }
     },
     "generation": {
      "type": "integer",
      "minimum": 0
     },
     "virtualServer": {
      "type": "object",
      "required": [
       "name",
       "uid"
      ],
      "properties": {
       "name": {
        "type": "string",
        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "maxLength": 63
       },
       "uid": {
        "type": "string",
        "maxLength": 128
       }
      }
     }
    }
   }
  }
 },
 "IPVSNode": {
  "type": "object",
  "required": [
   "apiVersion",
   "kind",
   "metadata",
   "spec"
  ],
  "properties": {
   "apiVersion": {
    "type": "string",
    "enum": [
     "ipvs-operator.dev/v1alpha1"
    ]
   },
   "kind": {
    "type": "string",
    "enum": [
     "IPVSNode"
    ]
   },
   "metadata": {
    "type": "object",
    "required": [
     "name"
    ],
    "properties": {
     "name": {
      "type": "string",
      "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
      "maxLength": 253
     },
     "labels": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "annotations": {
      "type": "object",
      "additionalProperties": {
       "type": "string"
      }
     },
     "uid": {},
     "resourceVersion": {},
     "generation": {},
     "generateName": {},
     "creationTimestamp": {},
     "deletionTimestamp": {},
     "deletionGracePeriodSeconds": {},
     "managedFields": {},
     "ownerReferences": {},
     "finalizers": {},
     "selfLink": {}
    }
   },
   "spec": {
    "type": "object",
    "required": [
     "directorGroups",
     "realServer",
     "reservedAddresses"
    ],
    "properties": {
     "directorGroups": {
      "type": "array",
      "maxItems": 64,
      "items": {
       "type": "string",
       "maxLength": 63
      }
     },
     "realServer": {
      "type": "object",
      "required": [
       "binds"
      ],
      "properties": {
       "binds": {
        "type": "array",
        "maxItems": 4096,
        "items": {
         "type": "object",
         "required": [
          "address",
          "family",
          "mode",
          "localAddress",
          "virtualServer"
         ],
         "properties": {
          "address": {
           "type": "string",
           "minLength": 2,
           "maxLength": 45
          },
          "family": {
           "type": "string",
           "enum": [
            "IPv4",
            "IPv6"
           ]
          },
          "mode": {
           "type": "string",
           "enum": [
            "DR",
            "TUN"
           ]
          },
          "tunnel": {
           "type": "object",
           "required": [
            "encapsulation",
            "port",
            "checksum"
           ],
           "properties": {
            "encapsulation": {
             "type": "string",
             "enum": [
              "IPIP",
              "GUE",
              "GRE"
             ]
            },
            "port": {
             "type": "integer",
             "minimum": 0,
             "maximum": 65535
            },
            "checksum": {
             "type": "string",
             "enum": [
              "None",
              "Checksum",
              "RemoteChecksum"
             ]
            }
           }
          },
          "localAddress": {
           "type": "string",
           "minLength": 2,
           "maxLength": 45
          },
          "virtualServer": {
           "type": "string",
           "maxLength": 127
          }
         }
        }
       }
      }
     },
     "reservedAddresses": {
      "type": "array",
      "maxItems": 10000,
      "items": {
       "type": "string",
       "minLength": 2,
       "maxLength": 45
      }
     }
    }
   },
   "status": {
    "type": "object",
    "properties": {
     "observedGeneration": {
      "type": "integer",
      "minimum": 0
     },
     "agentVersion": {
      "type": "string",
      "maxLength": 64
     },
     "kernel": {
      "type": "string",
      "maxLength": 128
     },
     "capabilities": {
      "type": "object",
      "required": [
       "schedulers",
       "tunnels",
       "netfilter"
      ],
      "properties": {
       "schedulers": {
        "type": "array",
        "maxItems": 64,
        "items": {
         "type": "string",
         "maxLength": 16
        }
       },
       "tunnels": {
        "type": "array",
        "maxItems": 16,
        "items": {
         "type": "string",
         "maxLength": 16
        }
       },
       "netfilter": {
        "type": "string",
        "maxLength": 16
       }
      }
     },
     "interfaces": {
      "type": "array",
      "maxItems": 128,
      "items": {
       "type": "object",
       "required": [
        "name",
        "addresses"
       ],
       "properties": {
        "name": {
         "type": "string",
         "maxLength": 15
        },
        "addresses": {
         "type": "array",
         "maxItems": 64,
         "items": {
          "type": "string",
          "maxLength": 49
         }
        }
       }
      }
     },
     "programs": {
      "type": "object",
      "required": [
       "applied",
       "failed",
       "digest"
      ],
      "properties": {
       "applied": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2147483647
       },
       "failed": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2147483647
       },
       "digest": {
        "type": "string",
        "maxLength": 64
       }
      }
     },
     "applied": {
      "type": "array",
      "maxItems": 5000,
      "items": {
       "type": "string",
       "maxLength": 192
      }
     },
     "failures": {
      "type": "array",
      "maxItems": 64,
      "items": {
       "type": "object",
       "required": [
        "virtualServer",
        "code",
        "message"
       ],
       "properties": {
        "virtualServer": {
         "type": "string",
         "maxLength": 127
        },
        "code": {
         "type": "string",
         "maxLength": 64
        },
        "message": {
         "type": "string",
         "maxLength": 1024
        }
       }
      }
     },
     "ownedVIPs": {
      "type": "array",
      "maxItems": 5000,
      "items": {
       "type": "string",
       "minLength": 2,
       "maxLength": 45
      }
     },
     "boundVIPs": {
      "type": "array",
      "maxItems": 4096,
      "items": {
       "type": "string",
       "minLength": 2,
       "maxLength": 45
      }
     },
     "foreign": {
      "type": "object",
      "required": [
       "services",
       "destinations",
       "addresses",
       "examples"
      ],
      "properties": {
       "services": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2147483647
       },
       "destinations": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2147483647
       },
       "addresses": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2147483647
       },
       "examples": {
        "type": "array",
        "maxItems": 8,
        "items": {
         "type": "string",
         "maxLength": 256
        }
       },
       "culprit": {
        "type": "string",
        "maxLength": 64
       }
      }
     },
     "backends": {
      "type": "array",
      "maxItems": 256,
      "items": {
       "type": "object",
       "required": [
        "virtualServer",
        "unhealthy",
        "ignored",
        "draining",
        "message"
       ],
       "properties": {
        "virtualServer": {
         "type": "string",
         "maxLength": 127
        },
        "unhealthy": {
         "type": "integer",
         "minimum": 0,
         "maximum": 2147483647
        },
        "ignored": {
         "type": "integer",
         "minimum": 0,
         "maximum": 2147483647
        },
        "draining": {
         "type": "integer",
         "minimum": 0,
         "maximum": 2147483647
        },
        "connections": {
         "type": "integer",
         "minimum": 0,
         "maximum": 2147483647
        },
        "drainedBy": {
         "type": "string",
         "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?(Z|[+-]\\d{2}:\\d{2})$",
         "maxLength": 64
        },
        "message": {
         "type": "string",
         "maxLength": 1024
        }
       }
      }
     },
     "drifts": {
      "type": "integer",
      "minimum": 0,
      "maximum": 2147483647
     },
     "conditions": {
      "type": "array",
      "maxItems": 16,
      "items": {
       "type": "object",
       "required": [
        "type",
        "status",
        "reason",
        "message",
        "lastTransitionTime"
       ],
       "properties": {
        "type": {
         "type": "string",
         "maxLength": 316
        },
        "status": {
         "type": "string",
         "enum": [
          "True",
          "False",
          "Unknown"
         ]
        },
        "reason": {
         "type": "string",
         "maxLength": 1024
        },
        "message": {
         "type": "string",
         "maxLength": 32768
        },
        "lastTransitionTime": {
         "type": "string",
         "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?(Z|[+-]\\d{2}:\\d{2})$",
         "maxLength": 64
        },
        "observedGeneration": {
         "type": "integer",
         "minimum": 0
        }
       }
      }
     }
    }
   }
  }
 }
};

export const STATUS_SHAPES: Readonly<Record<'VirtualServer' | 'VIPPool' | 'DirectorGroup', Shape>> = {
 "VirtualServer": {
  "type": "object",
  "properties": {
   "observedGeneration": {
    "type": "integer",
    "minimum": 0
   },
   "addresses": {
    "type": "array",
    "maxItems": 16,
    "items": {
     "type": "object",
     "required": [
      "value",
      "family"
     ],
     "properties": {
      "value": {
       "type": "string",
       "maxLength": 45
      },
      "family": {
       "type": "string",
       "enum": [
        "IPv4",
        "IPv6"
       ]
      },
      "activeNode": {
       "type": "string",
       "maxLength": 253
      }
     }
    }
   },
   "summary": {
    "type": "object",
    "properties": {
     "addresses": {
      "type": "string",
      "maxLength": 1024
     },
     "ports": {
      "type": "string",
      "maxLength": 1024
     },
     "backends": {
      "type": "string",
      "maxLength": 64
     },
     "activeNode": {
      "type": "string",
      "maxLength": 1024
     }
    }
   },
   "backends": {
    "type": "object",
    "properties": {
     "total": {
      "type": "integer",
      "minimum": 0,
      "maximum": 2147483647
     },
     "ready": {
      "type": "integer",
      "minimum": 0,
      "maximum": 2147483647
     },
     "draining": {
      "type": "integer",
      "minimum": 0,
      "maximum": 2147483647
     },
     "unhealthy": {
      "type": "integer",
      "minimum": 0,
      "maximum": 2147483647
     }
    }
   },
   "excluded": {
    "type": "array",
    "maxItems": 16,
    "items": {
     "type": "object",
     "required": [
      "backend",
      "reason",
      "message"
     ],
     "properties": {
      "backend": {
       "type": "string",
       "maxLength": 64
      },
      "reason": {
       "type": "string",
       "maxLength": 64
      },
      "message": {
       "type": "string",
       "maxLength": 1024
      }
     }
    }
   },
   "excludedCount": {
    "type": "integer",
    "minimum": 0,
    "maximum": 2147483647
   },
   "directors": {
    "type": "object",
    "properties": {
     "desired": {
      "type": "integer",
      "minimum": 0,
      "maximum": 2147483647
     },
     "programmed": {
      "type": "integer",
      "minimum": 0,
      "maximum": 2147483647
     }
    }
   },
   "conditions": {
    "type": "array",
    "maxItems": 16,
    "items": {
     "type": "object",
     "required": [
      "type",
      "status",
      "reason",
      "message",
      "lastTransitionTime"
     ],
     "properties": {
      "type": {
       "type": "string",
       "maxLength": 316
      },
      "status": {
       "type": "string",
       "enum": [
        "True",
        "False",
        "Unknown"
       ]
      },
      "reason": {
       "type": "string",
       "maxLength": 1024
      },
      "message": {
       "type": "string",
       "maxLength": 32768
      },
      "lastTransitionTime": {
       "type": "string",
       "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?(Z|[+-]\\d{2}:\\d{2})$",
       "maxLength": 64
      },
      "observedGeneration": {
       "type": "integer",
       "minimum": 0
      }
     }
    }
   }
  }
 },
 "VIPPool": {
  "type": "object",
  "properties": {
   "observedGeneration": {
    "type": "integer",
    "minimum": 0
   },
   "capacity": {
    "type": "object",
    "properties": {
     "ipv4": {
      "type": "string",
      "maxLength": 40
     },
     "ipv6": {
      "type": "string",
      "maxLength": 40
     }
    }
   },
   "allocated": {
    "type": "object",
    "properties": {
     "ipv4": {
      "type": "string",
      "maxLength": 40
     },
     "ipv6": {
      "type": "string",
      "maxLength": 40
     }
    }
   },
   "conditions": {
    "type": "array",
    "maxItems": 16,
    "items": {
     "type": "object",
     "required": [
      "type",
      "status",
      "reason",
      "message",
      "lastTransitionTime"
     ],
     "properties": {
      "type": {
       "type": "string",
       "maxLength": 316
      },
      "status": {
       "type": "string",
       "enum": [
        "True",
        "False",
        "Unknown"
       ]
      },
      "reason": {
       "type": "string",
       "maxLength": 1024
      },
      "message": {
       "type": "string",
       "maxLength": 32768
      },
      "lastTransitionTime": {
       "type": "string",
       "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?(Z|[+-]\\d{2}:\\d{2})$",
       "maxLength": 64
      },
      "observedGeneration": {
       "type": "integer",
       "minimum": 0
      }
     }
    }
   }
  }
 },
 "DirectorGroup": {
  "type": "object",
  "properties": {
   "observedGeneration": {
    "type": "integer",
    "minimum": 0
   },
   "members": {
    "type": "array",
    "maxItems": 1000,
    "items": {
     "type": "object",
     "required": [
      "node",
      "state"
     ],
     "properties": {
      "node": {
       "type": "string",
       "maxLength": 253
      },
      "state": {
       "type": "string",
       "maxLength": 64
      },
      "since": {
       "type": "string",
       "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?(Z|[+-]\\d{2}:\\d{2})$",
       "maxLength": 64
      },
      "ownedVIPs": {
       "type": "integer",
       "minimum": 0,
       "maximum": 2147483647
      }
     }
    }
   },
   "summary": {
    "type": "object",
    "properties": {
     "members": {
      "type": "string",
      "maxLength": 64
     },
     "ownedVIPs": {
      "type": "integer",
      "minimum": 0,
      "maximum": 2147483647
     }
    }
   },
   "conditions": {
    "type": "array",
    "maxItems": 16,
    "items": {
     "type": "object",
     "required": [
      "type",
      "status",
      "reason",
      "message",
      "lastTransitionTime"
     ],
     "properties": {
      "type": {
       "type": "string",
       "maxLength": 316
      },
      "status": {
       "type": "string",
       "enum": [
        "True",
        "False",
        "Unknown"
       ]
      },
      "reason": {
       "type": "string",
       "maxLength": 1024
      },
      "message": {
       "type": "string",
       "maxLength": 32768
      },
      "lastTransitionTime": {
       "type": "string",
       "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,9})?(Z|[+-]\\d{2}:\\d{2})$",
       "maxLength": 64
      },
      "observedGeneration": {
       "type": "integer",
       "minimum": 0
      }
     }
    }
   }
  }
 }
};
