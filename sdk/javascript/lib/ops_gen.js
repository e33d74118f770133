export const errnos = ["ok","invalid","not_found","conflict","forbidden","not_granted","unavailable","timeout","canceled","too_large","quota"];
export const groups = {
  nova: {server_list: "read", server_get: "read", server_stop: "change", server_wait:"read"},
  ha: {segment_get: "local"},
  http: {request: "change"},
  kv: {get:"local"},
  task: {input:"local"},
};
